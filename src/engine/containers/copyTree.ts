import { spawn } from 'node:child_process'
import { withAdvice } from '../../core/advice.ts'
import { refuseWithoutPipes } from '../../linux/spawn.ts'

/** What is kept of a program's complaints: the first tells most. */
const longest = 2000

/**
 * Copies what is in a directory into another one: owners, modes, times,
 * extended attributes, links, holes. With 49,000 small files cp took 0.8 s
 * where our own copier took 2. When this settles, nothing is written any more.
 */
export const copyTree = async (from: number, to: string, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted()
  const source = `/proc/${process.pid}/fd/${from}/.`
  const child = spawn('cp', ['-a', '--reflink=auto', '--sparse=auto', '--', source, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  })
  const end = Promise.withResolvers<number | null>()
  child.once('error', end.reject)
  child.once('close', end.resolve)
  if (child.pid !== undefined) refuseWithoutPipes({ stdout: child.stderr }, 'cp')
  let complaints = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    if (complaints.length < longest) complaints += bytes.toString()
  })
  const stop = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', stop, { once: true })
  try {
    const code = await end.promise
    signal.throwIfAborted()
    if (code !== 0) throw new Error(explained(complaints.trim() || 'cp was killed'))
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const explained = (text: string): string =>
  withAdvice(text.slice(0, longest), /No space left/.test(text) ? 'ENOSPC' : undefined)
