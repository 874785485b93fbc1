import path from 'node:path'
import type { IgnoreMatcher } from '../ignore.ts'
import { splitPort } from '../ports.ts'
import type { Instruction } from '../types.ts'
import type { Checker, Place } from './checker.ts'
import { rules } from './rules.ts'

/** Patterns that leave nothing of the context. */
const allOfRoot = ['*', '**', '**/*']

const isIgnored = (ignore: IgnoreMatcher, source: string): boolean => {
  const isRoot = source === '.' || source === '/'
  if (isRoot && !ignore.patterns.some(({ text }) => allOfRoot.includes(text))) return false
  return ignore.ignores(source)
}

/** What is fetched, and does not come from the context. */
const isRemote = (source: string): boolean => /^(https?|git|ssh):\/\/|^git@/.test(source)

/**
 * Whether what an ADD or COPY from the context wants is ignored there, its variables replaced. With exceptions among
 * the patterns that cannot be told: a file of an ignored folder may be wanted.
 */
export const checkCopyIgnored = (
  checker: Checker,
  instruction: Extract<Instruction, { name: 'ADD' | 'COPY' }>,
  ignore: IgnoreMatcher,
): void => {
  if (ignore.hasExceptions || (instruction.name === 'COPY' && instruction.from)) return
  for (const source of instruction.sources) {
    if (source.kind !== 'path' || (instruction.name === 'ADD' && isRemote(source.path.value))) continue
    const cleaned = path.posix.normalize(source.path.value).replace(/(.)\/$/, '$1')
    if (!isIgnored(ignore, cleaned)) continue
    const verb = instruction.name === 'ADD' ? 'Add' : 'Copy'
    checker.report(
      rules.copyIgnoredFile,
      instruction,
      `Attempting to ${verb} file "${cleaned}" that is excluded by .dockerignore`,
    )
  }
}

/** Checks a port of EXPOSE that was expanded and split (`expandWords`). */
export const checkPort = (checker: Checker, instruction: Place, port: string): void => {
  const { address, host, protocol } = splitPort(port)
  if (protocol !== protocol.toLowerCase())
    checker.report(
      rules.exposeProtoCasing,
      instruction,
      `Defined protocol '${port}' in EXPOSE instruction should be lowercase`,
    )
  if (address !== '' || host !== '')
    checker.report(
      rules.exposeInvalidFormat,
      instruction,
      `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`,
    )
}
