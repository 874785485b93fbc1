import { BerthError, internal, messageOf, unavailable } from '../core/errors.ts'
import {
  closeDescriptor,
  type Received,
  receiveDescriptors,
  sendDescriptors,
  setTimeouts,
} from '../linux/descriptors.ts'
import {
  decodeHello,
  encodeFrame,
  encodeHello,
  type Frame,
  FrameDecoder,
  replyType,
} from './monitorFrames.ts'

/** The store answers within microseconds; a stopped one must not stop the daemon for ever. */
const deadline = 5000

/**
 * Question and answer on a blocking socket: Node cannot receive descriptors.
 * One call takes some 20 µs.
 */
export class HolderCalls {
  readonly #fd: number
  readonly #decoder = new FrameDecoder()
  #frames: Frame[] = []
  #fds: number[] = []
  #tag = 0
  #open = true
  /** The store's process. */
  readonly pid: number

  /** Owns `fd` from now on. Throws what the store says where it refuses. */
  constructor(fd: number) {
    this.#fd = fd
    try {
      setTimeouts(fd, deadline)
      const hello = this.#next()
      if (hello.type === replyType.error) throw refusal(hello)
      if (hello.type !== replyType.hello) throw internal('the descriptor store spoke before it said hello')
      this.pid = decodeHello(hello.payload).pid
      this.#send(encodeHello(), [])
      this.#answer(0, () => {})
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Sends a request and waits for its end; each item before it goes to `onItem`. Returns a descriptor that came. */
  call(
    request: { type: number; payload: Uint8Array; fds?: number[] },
    onItem: (frame: Frame) => void = () => {},
  ): number | undefined {
    this.#tag = (this.#tag % 0xffff) + 1
    this.#send(
      encodeFrame({ type: request.type, tag: this.#tag, payload: request.payload }),
      request.fds ?? [],
    )
    this.#answer(this.#tag, onItem)
    return this.#fds.shift()
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    for (const fd of this.#fds) closeDescriptor(fd)
    this.#fds = []
    closeDescriptor(this.#fd)
  }

  #answer(tag: number, onItem: (frame: Frame) => void): void {
    for (;;) {
      const frame = this.#next()
      if (frame.tag !== tag) throw internal('the descriptor store answered another request')
      if (frame.type === replyType.error) throw refusal(frame)
      if (frame.type === replyType.ok) return
      if (frame.type === replyType.item) onItem(frame)
    }
  }

  #next(): Frame {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame) return frame
      const received = this.#receive()
      this.#fds.push(...received.fds)
      if (received.data.length === 0) throw unavailable('the descriptor store ended; connect again')
      this.#frames = this.#decoder.push(received.data)
    }
  }

  #receive(): Received {
    if (!this.#open) throw unavailable('this connection to the descriptor store is closed; connect again')
    try {
      return receiveDescriptors(this.#fd, 65536)
    } catch (error) {
      throw unavailable(`the descriptor store does not answer (${messageOf(error)}); connect again`)
    }
  }

  #send(bytes: Buffer, fds: number[]): void {
    if (!this.#open) throw unavailable('this connection to the descriptor store is closed; connect again')
    /* One request is out at a time, so it fits; a short one means that the store is not reading. */
    if (trySend(this.#fd, bytes, fds) !== bytes.length)
      throw unavailable('the descriptor store does not read its requests; connect again')
  }
}

const trySend = (fd: number, bytes: Buffer, fds: number[]): number => {
  try {
    return sendDescriptors(fd, bytes, fds)
  } catch (error) {
    throw unavailable(`the descriptor store is gone (${messageOf(error)}); connect again`)
  }
}

const refusal = (frame: Frame): BerthError =>
  new BerthError('holder-refused', 500, frame.payload.toString('utf8'))
