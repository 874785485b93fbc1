import { spawn } from 'node:child_process'
import { getSystemErrorName } from 'node:util'
import { refuseWithoutPipes } from '../../linux/spawn.ts'
import type { MountArguments } from './mountOptions.ts'

/** Mounting in a process of its own: it may wait for another machine for ever. */
export interface MountUnderWay {
  /** Errno's name, '' where it is mounted; rejects with the signal's reason, or where the process cannot be run. */
  answer: Promise<string>
  /** The process has ended: whatever it did is done. */
  ended: Promise<void>
}

export const startMount = (
  call: MountArguments & { target: string },
  { binary, signal }: { binary: string; signal: AbortSignal },
): MountUnderWay => {
  const answer = Promise.withResolvers<string>()
  const ended = Promise.withResolvers<void>()
  const child = spawn(binary, ['mount'], { stdio: ['pipe', 'pipe', 'ignore'] })
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
    if (text === '') answer.reject(new Error('the process that mounts it was killed'))
    else answer.resolve(text.trim() === '0' ? '' : getSystemErrorName(-Number(text)))
    ended.resolve()
  })
  child.stdin.on('error', () => {})
  const fields = [call.source, call.target, call.type, String(call.flags), call.data]
  child.stdin.end(fields.map(field => `${field}\0`).join(''))
  return { answer: answer.promise, ended: ended.promise }
}
