import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { RuntimeBinary } from '../../runtime/types.ts'

/** Why a runtime could not write or read a checkpoint, and what to do about it. */

/** Where CRIU works and writes its log: below the run directory. The monitor names it to the runtime, too. */
export const criuFolder = 'criu'

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const onPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some(folder => isExecutable(path.join(folder, program)))

/** The runtime's words, with the last errors of CRIU's log in its work folder where there are some. */
export const lastWords = (work: string, words: string): string => {
  const logs = ['dump.log', 'restore.log'].map(name => path.join(work, name)).filter(file => existsSync(file))
  const errors = logs.flatMap(file =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(line => line.includes('Error ('))
      .slice(-3),
  )
  return [words, ...errors].join('\n')
}

/** What is missing for it on this host, where that can be told. */
export const withCriuAdvice = ({ name, path: program }: RuntimeBinary, words: string): string => {
  if (/unknown command|no such command|not supported/i.test(words))
    return `${words}; the runtime ${name} (${program}) was built without checkpoints: use one that has them, as runc does (docker run --runtime runc), or a crun that was built with CRIU`
  if (!onPath('criu'))
    return `${words}; CRIU, which does the work, is not on the daemon's PATH: install it (apt install criu, dnf install criu), see that "criu check" is content, and try again`
  return words
}
