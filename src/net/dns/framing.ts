/** Messages on a byte stream: each with its length in two bytes before it (RFC 1035, 4.2.2). */

export const framed = (message: Buffer): Buffer => {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

/** Takes a stream apart. Holds at most one message that is not complete. */
export class Framing {
  #rest: Buffer = Buffer.alloc(0)

  /** The messages that are complete with this chunk. */
  push(chunk: Buffer): Buffer[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: Buffer[] = []
    let at = 0
    while (at + 2 <= bytes.length) {
      const end = at + 2 + bytes.readUInt16BE(at)
      if (end > bytes.length) break
      messages.push(bytes.subarray(at + 2, end))
      at = end
    }
    this.#rest = Buffer.from(bytes.subarray(at))
    return messages
  }
}
