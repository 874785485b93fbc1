import { readFileSync, statSync } from 'node:fs'
import { hasCode } from '../../core/errors.ts'
import { resolvedUpstreamFile, usesResolvedStub } from '../../net/resolv.ts'

/** The host's resolver settings, as they are now: where systemd-resolved's stub stands, those behind it. */

const hostFile = '/etc/resolv.conf'

interface Read {
  /** Which file, and in which state. */
  state: string
  text: string
}

const known = new Map<string, Read>()

/** A file's text; read again only where it is another one by now. Absent is empty. */
const textOf = (file: string): string => {
  const { ino, mtimeMs, size } = statSync(file, { throwIfNoEntry: false }) ?? { ino: 0, mtimeMs: 0, size: 0 }
  const state = `${ino} ${mtimeMs} ${size}`
  const before = known.get(file)
  if (before?.state === state) return before.text
  const text = readText(file)
  known.set(file, { state, text })
  return text
}

const readText = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ''
    throw error
  }
}

/** As the host's programs see it. */
export const hostResolvConf = (): string => textOf(hostFile)

/** As containers are to see it; from a file of the daemon's own where `file` names one. */
export const upstreamResolvConf = (file = ''): string => {
  if (file !== '') return textOf(file)
  const own = hostResolvConf()
  return usesResolvedStub(own) ? textOf(resolvedUpstreamFile) || own : own
}
