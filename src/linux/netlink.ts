import { koffi, libc, SystemError, sys } from './ffi.ts'

/**
 * Netlink: messages as bytes, and a socket that sends a batch and reads the
 * kernel's answers, synchronously. The kernel answers a request within the
 * send, so a receive never waits. See linux/Documentation/userspace-api/netlink.
 */

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_MULTI = 2
const NLM_F_DUMP_INTR = 0x10
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1
const NESTED = 0x8000
const headerLength = 16
const dumpAttempts = 8

export const flags = { request: 1, ack: 4, dump: 0x300, replace: 0x100, exclusive: 0x200, create: 0x400 }
export const protocols = { route: 0, sockDiag: 4, netfilter: 12 }

const socket = sys('int socket(int domain, int type, int protocol)')
const bind = sys('int bind(int fd, const void *address, unsigned int length)')
const setsockopt = sys('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)')
const send = sys('long send(int fd, const void *bytes, size_t length, int flags)')
const close = sys('int close(int fd)')
const recv = libc.func('long recv(int fd, void *bytes, size_t length, int flags)')
const MSG_TRUNC = 0x20

/** One request, before it gets its sequence number. */
export interface Message {
  type: number
  flags: number
  body: Buffer
  /** For the error text: `add link veth0`. */
  what: string
}

/** One message of an answer. */
export interface Answer {
  type: number
  body: Buffer
}

const align = (length: number): number => (length + 3) & ~3

/** One attribute: length, type, value, padding. */
export const attribute = (type: number, value: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(align(4 + value.length))
  bytes.writeUInt16LE(4 + value.length, 0)
  bytes.writeUInt16LE(type, 2)
  bytes.set(value, 4)
  return bytes
}

export const textAttribute = (type: number, text: string): Buffer => attribute(type, Buffer.from(`${text}\0`))

export const u8Attribute = (type: number, value: number): Buffer => attribute(type, Uint8Array.of(value))

export const u32Attribute = (type: number, value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return attribute(type, bytes)
}

/** Netfilter's numbers are in network order. */
export const be16Attribute = (type: number, value: number): Buffer =>
  attribute(type, Uint8Array.of(value >> 8, value & 0xff))

export const nested = (type: number, ...attributes: Buffer[]): Buffer =>
  attribute(type | NESTED, Buffer.concat(attributes))

/** The attributes of a body from `offset` on, by type; the last of equal ones wins. */
export const attributesOf = (body: Buffer, offset: number): Map<number, Buffer> => {
  const found = new Map<number, Buffer>()
  for (let at = offset; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at)
    if (length < 4 || at + length > body.length) break
    found.set(body.readUInt16LE(at + 2) & 0x3fff, body.subarray(at + 4, at + length))
    at += align(length)
  }
  return found
}

/** Text of a zero-ended attribute. */
export const textOf = (bytes: Buffer | undefined): string =>
  bytes?.toString('utf8').replace(/\0.*$/s, '') ?? ''

const encode = (message: Message, sequence: number): Buffer => {
  const bytes = Buffer.alloc(align(headerLength + message.body.length))
  bytes.writeUInt32LE(headerLength + message.body.length, 0)
  bytes.writeUInt16LE(message.type, 4)
  bytes.writeUInt16LE(message.flags | flags.request, 6)
  bytes.writeUInt32LE(sequence, 8)
  bytes.set(message.body, headerLength)
  return bytes
}

interface Received extends Answer {
  flags: number
  sequence: number
}

/** The messages in one datagram. */
export const decode = (bytes: Buffer): Received[] => {
  const found: Received[] = []
  for (let at = 0; at + headerLength <= bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    if (length < headerLength || at + length > bytes.length) break
    found.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      body: Buffer.from(bytes.subarray(at + headerLength, at + length)),
    })
    at += align(length)
  }
  return found
}

/** The kernel's refusal in an NLMSG_ERROR, with its own words; undefined for a plain acknowledgement. */
const refusal = (answer: Received, what: string): SystemError | undefined => {
  const code = -answer.body.readInt32LE(0)
  if (code === 0) return undefined
  let words = ''
  if (answer.flags & NLM_F_ACK_TLVS) {
    const payload = answer.flags & NLM_F_CAPPED ? 0 : answer.body.readUInt32LE(4) - headerLength
    words = textOf(attributesOf(answer.body, 4 + headerLength + align(payload)).get(NLMSGERR_ATTR_MSG))
  }
  return new SystemError('netlink', code, words === '' ? what : `${what} (${words})`)
}

const enable = (fd: number, option: number): void => {
  const one = Buffer.from([1, 0, 0, 0])
  setsockopt(fd, SOL_NETLINK, option, one, 4)
}

const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
/** A whole table of rules may be flushed at once, and each of its parts be told of. */
const multicastBuffer = 4 * 1024 * 1024

/** The kernel counts it as used only as it fills. */
const enlarge = (fd: number): void => {
  const size = Buffer.alloc(4)
  size.writeInt32LE(multicastBuffer)
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length)
}

/** A descriptor of a netlink socket in the namespace of the calling thread; `groups` is a multicast bit mask. */
export const openNetlink = (protocol: number, groups = 0): number => {
  const fd = socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol)
  try {
    if (groups !== 0) enlarge(fd)
    const address = Buffer.alloc(12)
    address.writeUInt16LE(AF_NETLINK, 0)
    address.writeUInt32LE(groups, 8)
    bind(fd, address, address.length)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

// One buffer will do: every receive is decoded into copies before the next.
const buffer = Buffer.alloc(256 * 1024)

/** One datagram of a netlink socket, decoded. Errors: SystemError (`ENOBUFS` where multicast overran). */
export const receiveNetlink = (fd: number): Received[] => {
  for (;;) {
    const length = Number(recv(fd, buffer, buffer.length, MSG_TRUNC))
    if (length > buffer.length) throw new SystemError('recv', 90, `netlink datagram of ${length} bytes`)
    if (length >= 0) return decode(buffer.subarray(0, length))
    const error = new SystemError('recv', koffi.errno(), 'netlink')
    if (error.code !== 'EINTR') throw error
  }
}

/** A request socket. It belongs to the namespace in which it was made, wherever the thread is later. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number
  #sequence = 0
  #closed = false

  constructor(protocol: number) {
    this.#fd = openNetlink(protocol)
    try {
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) enable(this.#fd, option)
      // Dumps take filters then. Only rtnetlink has it; what has not, filters by its own attributes.
      if (protocol === protocols.route) enable(this.#fd, NETLINK_GET_STRICT_CHK)
    } catch (error) {
      close(this.#fd)
      throw error
    }
  }

  /**
   * Sends all in one datagram and reads one acknowledgement each. The kernel
   * goes on after a refused message; the first refusal is thrown at the end,
   * so the caller undoes all of the batch.
   */
  batch(messages: Message[]): void {
    const first = this.#sequence + 1
    this.#sequence += messages.length
    const bytes = Buffer.concat(
      messages.map((message, i) => encode({ ...message, flags: message.flags | flags.ack }, first + i)),
    )
    send(this.#fd, bytes, bytes.length, 0)
    let failed: SystemError | undefined
    for (let open = messages.length; open > 0; ) {
      for (const answer of receiveNetlink(this.#fd)) {
        const message = messages[answer.sequence - first]
        if (answer.type !== NLMSG_ERROR || !message) continue
        open--
        failed ??= refusal(answer, message.what)
      }
    }
    if (failed) throw failed
  }

  /** Sends one request and gives its answer. Errors: SystemError. */
  ask(message: Message): Answer {
    const sequence = ++this.#sequence
    const bytes = encode(message, sequence)
    send(this.#fd, bytes, bytes.length, 0)
    for (;;) {
      for (const answer of receiveNetlink(this.#fd)) {
        if (answer.sequence !== sequence) continue
        const failed = answer.type === NLMSG_ERROR ? refusal(answer, message.what) : undefined
        if (failed) throw failed
        return answer
      }
    }
  }

  /** All messages of a dump; taken anew where the kernel says that it changed meanwhile. */
  dump(message: Message): Answer[] {
    for (let attempt = 1; ; attempt++) {
      const { answers, interrupted } = this.#dumpOnce(message)
      if (!interrupted || attempt === dumpAttempts) return answers
    }
  }

  #dumpOnce(message: Message): { answers: Answer[]; interrupted: boolean } {
    const sequence = ++this.#sequence
    const bytes = encode({ ...message, flags: message.flags | flags.dump }, sequence)
    send(this.#fd, bytes, bytes.length, 0)
    const answers: Answer[] = []
    let interrupted = false
    for (;;) {
      for (const answer of receiveNetlink(this.#fd)) {
        if (answer.sequence !== sequence) continue
        if (answer.flags & NLM_F_DUMP_INTR) interrupted = true
        const ended = answer.type === NLMSG_ERROR || answer.type === NLMSG_DONE
        const failed = ended && answer.body.length >= 4 ? refusal(answer, message.what) : undefined
        if (failed) throw failed
        if (ended) return { answers, interrupted }
        answers.push(answer)
        if (!(answer.flags & NLM_F_MULTI)) return { answers, interrupted }
      }
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    close(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
