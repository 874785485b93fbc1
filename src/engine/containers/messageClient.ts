import { Socket } from 'node:net'
import { closeDescriptor, socketPair } from '../../linux/descriptors.ts'
import type { RawClient } from './rawClient.ts'

/** A client that speaks in messages (a websocket) rather than over a plain connection. */
export interface MessageChannel {
  /** `done` is called once the bytes have left. */
  send(bytes: Buffer, done: () => void): void
  onMessage(listener: (bytes: Buffer) => void): void
  onClose(listener: () => void): void
  /** No more messages come until `resume`. */
  pause(): void
  resume(): void
  close(): void
}

/** From the client: its messages are stdin, its leaving is stdin's end. */
const forwardInput = (channel: MessageChannel, socket: Socket): void => {
  channel.onMessage(bytes => {
    if (socket.destroyed || socket.writableEnded || socket.write(bytes)) return
    channel.pause()
    socket.once('drain', () => channel.resume())
  })
  // Nobody is left to read: closing both ways lets the other side drop its output.
  channel.onClose(() => socket.destroySoon())
}

/** To the client: one piece after another has left before the next is read; the stream's end ends the client. */
const forwardOutput = (channel: MessageChannel, socket: Socket): void => {
  socket.on('data', bytes => {
    socket.pause()
    channel.send(Buffer.from(bytes), () => socket.resume())
  })
  socket.once('end', () => channel.close())
  socket.once('error', () => socket.destroy())
  socket.once('close', () => channel.close())
}

/**
 * Gives a message client a connection of its own that can be handed to a
 * monitor: one end of a socket pair, the other end bridged here.
 */
export const messageClient = (channel: MessageChannel): RawClient => {
  const [mine, theirs] = socketPair()
  const socket = new Socket({ fd: mine, readable: true, writable: true, allowHalfOpen: true })
  let isOpen = true
  forwardInput(channel, socket)
  forwardOutput(channel, socket)
  const release = (): void => {
    if (isOpen) closeDescriptor(theirs)
    isOpen = false
  }
  return {
    fd: theirs,
    // Its end is seen.
    isGone: false,
    pending: Buffer.alloc(0),
    write: bytes => new Promise(resolve => channel.send(Buffer.from(bytes as string), () => resolve())),
    end: () => {
      release()
      channel.close()
    },
    release,
    onGone: listener => {
      channel.onClose(() => {
        if (!isOpen) return
        release()
        listener()
      })
    },
  }
}
