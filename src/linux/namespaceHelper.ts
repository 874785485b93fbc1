import { spawn } from 'node:child_process'
import { SystemError } from './ffi.ts'
import { refuseWithoutPipes } from './spawn.ts'

/** A command that enters a namespace of its own, writes 0 or an errno, and stays until its input ends. */
export type NamespaceHelper = readonly [binary: string, ...args: string[]]

/** `work` has the process's id for as long as it is there. Errors: SystemError with the errno that it wrote. */
export const withNamespaceHelper = async <T>(
  helper: NamespaceHelper,
  work: (pid: number) => T,
  signal?: AbortSignal,
): Promise<T> => {
  const [binary, ...args] = helper
  signal?.throwIfAborted()
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'ignore'], ...(signal ? { signal } : {}) })
  const answer = Promise.withResolvers<string>()
  answer.promise.catch(() => {})
  child.once('error', answer.reject)
  refuseWithoutPipes(child, binary)
  child.stdout.once('data', (bytes: Buffer) => answer.resolve(bytes.toString()))
  child.once('close', () => answer.resolve(''))
  child.stdin.on('error', () => {})
  try {
    const code = Number((await answer.promise) || Number.NaN)
    signal?.throwIfAborted()
    if (Number.isNaN(code)) throw new Error('the process that enters a namespace was killed')
    if (code !== 0) throw new SystemError('unshare', code, args.join(' '))
    return work(child.pid ?? 0)
  } finally {
    child.stdin.end()
  }
}
