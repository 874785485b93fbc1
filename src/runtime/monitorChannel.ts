import { Socket } from 'node:net'
import { hasCode, unavailable } from '../core/errors.ts'
import { closeDescriptor, sendDescriptors, wouldBlock } from '../linux/descriptors.ts'
import { encodeFrame, requestType } from './monitorFrames.ts'

interface Outgoing {
  bytes: Buffer
  /** Owned by the channel until sent. */
  fds: number[]
  sent(error?: Error): void
}

/**
 * The way out of one connection: frames in order, descriptors beside them. Node
 * reads the same descriptor; frames are written past it by sendmsg, at once
 * where the kernel takes them. Where it does not, Node's own writable queue
 * tells when it does again.
 */
export class MonitorChannel {
  readonly socket: Socket
  readonly #fd: number
  #waiting: Outgoing[] = []
  #blocked = false

  /** Owns `fd`, a connected unix stream socket. */
  constructor(fd: number) {
    this.#fd = fd
    this.socket = new Socket({ fd, readable: true, writable: true })
    this.socket.on('close', () => this.#failAll())
  }

  /** Resolves when the kernel has taken the frame. The descriptors are the channel's from now on. */
  send(bytes: Buffer, fds: number[] = []): Promise<void> {
    return new Promise((resolve, reject) => {
      const sent = (error?: Error): void => {
        for (const fd of fds) closeDescriptor(fd)
        if (error) reject(error)
        else resolve()
      }
      this.#waiting.push({ bytes, fds, sent })
      this.#flush()
    })
  }

  #failAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const frame of waiting) frame.sent(unavailable('the connection to the monitor ended; connect again'))
  }

  #flush(): void {
    if (this.#blocked) return
    if (this.socket.destroyed) {
      this.#failAll()
      return
    }
    for (let frame = this.#waiting[0]; frame && !this.#blocked; frame = this.#waiting[0]) {
      const taken = this.#trySend(frame)
      if (taken === 0) this.#waitWith(encodeFrame({ type: requestType.nop, tag: 0 }))
      else {
        this.#waiting.shift()
        if (taken < frame.bytes.length) this.#waitWith(frame.bytes.subarray(taken))
        frame.sent()
      }
    }
  }

  /** Bytes taken; 0 where there is no room now. A peer that is gone takes all: what it said last is still to be read. */
  #trySend(frame: Outgoing): number {
    try {
      return sendDescriptors(this.#fd, frame.bytes, frame.fds)
    } catch (error) {
      if (wouldBlock(error)) return 0
      if (!hasCode(error, 'EPIPE') && !hasCode(error, 'ECONNRESET')) this.socket.destroy()
      return frame.bytes.length
    }
  }

  /** Node writes these bytes when there is room: nothing else may be written before they are. */
  #waitWith(bytes: Buffer): void {
    this.#blocked = true
    this.socket.write(bytes, error => {
      this.#blocked = false
      if (!error) this.#flush()
    })
  }
}
