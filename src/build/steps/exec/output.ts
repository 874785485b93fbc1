import { Socket } from 'node:net'
import { closeDescriptor, socketPair } from '../../../linux/descriptors.ts'
import type { StepReport } from '../../solver/types.ts'

/** Takes Docker's frames (8 bytes, then that many) off a stream that comes in any pieces; nothing is gathered. */
export const unframe = (tell: StepReport['output']): ((bytes: Buffer) => void) => {
  const head = Buffer.alloc(8)
  let have = 0
  let left = 0
  return bytes => {
    for (let at = 0; at < bytes.length; ) {
      if (left === 0) {
        const part = bytes.copy(head, have, at, at + 8 - have)
        have += part
        at += part
        if (have < 8) return
        have = 0
        left = head.readUInt32BE(4)
        continue
      }
      const piece = bytes.subarray(at, at + left)
      tell(head[0] === 2 ? 'stderr' : 'stdout', piece)
      at += piece.length
      left -= piece.length
    }
  }
}

export interface StepOutput extends Disposable {
  /** For the monitor; `given` once it has it. */
  readonly fd: number
  given(): void
  /** All of it has been told. */
  readonly ended: Promise<void>
}

/** What a step's process writes, told as it comes. */
export const stepOutput = (tell: StepReport['output']): StepOutput => {
  const [mine, theirs] = socketPair()
  const socket = new Socket({ fd: mine, readable: true, writable: false })
  let isOurs = true
  const given = (): void => {
    if (isOurs) closeDescriptor(theirs)
    isOurs = false
  }
  const take = unframe(tell)
  const ended = new Promise<void>(resolve => {
    socket.on('data', take)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => resolve())
  })
  return {
    fd: theirs,
    given,
    ended,
    [Symbol.dispose]: () => {
      given()
      socket.destroy()
    },
  }
}
