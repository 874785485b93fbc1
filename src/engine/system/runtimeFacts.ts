import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { EngineSettings } from '../settings.ts'

export interface RuntimeFacts {
  /** Empty where it does not tell. */
  version: string
  /** JSON of the runtime specification's `Features`; absent where the runtime knows no such command. */
  features?: string
}

const known = new Map<string, Promise<RuntimeFacts>>()

const told = async (path: string, argument: string): Promise<string> => {
  try {
    return (await promisify(execFile)(path, [argument])).stdout
  } catch {
    return ''
  }
}

const compact = (text: string): string | undefined => {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return undefined
  }
}

const factsOf = async (path: string): Promise<RuntimeFacts> => {
  const [version, features] = await Promise.all([told(path, '--version'), told(path, 'features')])
  const json = compact(features)
  return {
    version: /version ([^\s]+)/.exec(version)?.[1] ?? '',
    ...(json === undefined ? {} : { features: json }),
  }
}

/** Of each runtime by its name, asked once in a daemon's life. */
export const runtimeFacts = async (settings: EngineSettings): Promise<Map<string, RuntimeFacts>> => {
  const facts = new Map<string, RuntimeFacts>()
  for (const runtime of settings.runtimes.values()) {
    const asked = known.get(runtime.path) ?? factsOf(runtime.path)
    known.set(runtime.path, asked)
    facts.set(runtime.name, await asked)
  }
  return facts
}
