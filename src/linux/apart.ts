import { spawn } from 'node:child_process'
import { getSystemErrorName } from 'node:util'
import { refuseWithoutPipes } from './spawn.ts'

/** System calls in a process of their own, which says how they ended: they may wait for another machine for ever. */
export interface ApartCall {
  command: readonly [binary: string, ...args: string[]]
  input?: string
  /** Who it is, where it was killed: `the process that mounts it`. */
  who: string
}

export interface ApartAnswer {
  /** Errno's name, '' for success; rejects with the signal's reason, or where the process cannot be run. */
  answer: Promise<string>
  /** The process has ended: whatever it did is done. A killed one that hangs does so later. */
  ended: Promise<void>
}

/** The process writes `0` or a negative errno to its output. */
export const callApart = ({ command, input, who }: ApartCall, signal: AbortSignal): ApartAnswer => {
  const [binary, ...args] = command
  const answer = Promise.withResolvers<string>()
  const ended = Promise.withResolvers<void>()
  answer.promise.catch(() => {})
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  child.once('error', error => {
    answer.reject(error)
    ended.resolve()
  })
  refuseWithoutPipes(child, binary)
  let text = ''
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString()
  })
  const abandon = (): void => {
    child.kill('SIGKILL')
    answer.reject(signal.reason)
  }
  signal.addEventListener('abort', abandon, { once: true })
  child.once('close', () => {
    signal.removeEventListener('abort', abandon)
    if (text === '') answer.reject(new Error(`${who} was killed`))
    else answer.resolve(text.trim() === '0' ? '' : getSystemErrorName(-Number(text)))
    ended.resolve()
  })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return { answer: answer.promise, ended: ended.promise }
}
