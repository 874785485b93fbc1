import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { EngineSettings } from '../settings.ts'

const known = new Map<string, Promise<string>>()

const versionOf = async (path: string): Promise<string> => {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'])
    return /version ([^\s]+)/.exec(stdout)?.[1] ?? ''
  } catch {
    return ''
  }
}

/** The version of each runtime by its name, asked once in a daemon's life. */
export const runtimeVersions = async (settings: EngineSettings): Promise<Map<string, string>> => {
  const versions = new Map<string, string>()
  for (const runtime of settings.runtimes.values()) {
    const asked = known.get(runtime.path) ?? versionOf(runtime.path)
    known.set(runtime.path, asked)
    versions.set(runtime.name, await asked)
  }
  return versions
}
