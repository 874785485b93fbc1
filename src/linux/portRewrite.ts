import { SystemError, sys } from './ffi.ts'
import { attribute, flags, nested, openNetlink, protocols, receiveNetlink, textAttribute } from './netlink.ts'

/**
 * Rules by which a port of a loopback address leads to another port, made by
 * one nf_tables transaction over netlink: libnftables would need a context per
 * namespace, and NAT would have the kernel track every connection there.
 * The header is rewritten instead: a query's at its way in, after connection
 * tracking, a reply's at its way out, before it. So whatever rules the
 * container itself has see both under the well-known port.
 * See linux/netfilter/nf_tables.h.
 */

const send = sys('long send(int fd, const void *bytes, size_t length, int flags)')
const close = sys('int close(int fd)')

const AF_INET = 2
const NLMSG_ERROR = 2
const SUBSYSTEM = 10 << 8
const message = { batchBegin: 0x10, batchEnd: 0x11, newTable: 0, deleteTable: 2, newChain: 3, newRule: 6 }
const hooks = { input: 1, output: 3 }
/** Above everything but the confirmation of connection tracking; below it, and NAT. */
const priorities = { input: 300, output: -300 }
const transport = { udp: { number: 17, checksumAt: 6 }, tcp: { number: 6, checksumAt: 16 } }
const networkHeader = 1
const transportHeader = 2
const L4PROTO = 16
const register = 1

export type Transport = keyof typeof transport

export interface PortRewrite {
  protocol: Transport
  /** Dotted IPv4 of this namespace's loopback. */
  address: string
  /** What clients use. */
  port: number
  /** Where the socket is. */
  socketPort: number
}

const be32 = (type: number, value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return attribute(type, bytes)
}

const expression = (name: string, ...data: Buffer[]): Buffer =>
  nested(1, textAttribute(1, name), nested(2, ...data))

const load = (base: number, offset: number, length: number): Buffer =>
  expression('payload', be32(1, register), be32(2, base), be32(3, offset), be32(4, length))

const equals = (value: Uint8Array): Buffer =>
  expression('cmp', be32(1, register), be32(2, 0), nested(3, attribute(1, value)))

const store = (offset: number, value: Uint8Array, checksumAt: number): Buffer[] => [
  expression('immediate', be32(1, register), nested(2, attribute(1, value))),
  expression(
    'payload',
    be32(5, register),
    be32(2, transportHeader),
    be32(3, offset),
    be32(4, value.length),
    be32(6, 1),
    be32(7, checksumAt),
  ),
]

const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 0xff)

interface Side {
  chain: 'input' | 'output'
  /** Offsets of the address in the IP header and of the port in the transport header. */
  addressAt: number
  portAt: number
  from: number
  to: number
}

const ruleBody = (table: string, { protocol, address }: PortRewrite, side: Side): Buffer => {
  const { number, checksumAt } = transport[protocol]
  const expressions = [
    load(networkHeader, side.addressAt, 4),
    equals(Uint8Array.from(address.split('.').map(Number))),
    expression('meta', be32(1, register), be32(2, L4PROTO)),
    equals(Uint8Array.of(number)),
    load(transportHeader, side.portAt, 2),
    equals(portBytes(side.from)),
    ...store(side.portAt, portBytes(side.to), checksumAt),
  ]
  return Buffer.concat([textAttribute(1, table), textAttribute(2, side.chain), nested(4, ...expressions)])
}

const chainBody = (table: string, chain: 'input' | 'output'): Buffer =>
  Buffer.concat([
    textAttribute(1, table),
    textAttribute(3, chain),
    nested(4, be32(1, hooks[chain]), be32(2, priorities[chain])),
    textAttribute(7, 'filter'),
  ])

interface Part {
  type: number
  flags: number
  body: Buffer
}

const parts = (table: string, rewrites: readonly PortRewrite[]): Part[] => {
  const create = flags.create
  const tableBody = textAttribute(1, table)
  const chains = (['input', 'output'] as const).map(chain => chainBody(table, chain))
  const rules = rewrites.flatMap(rewrite => {
    const { port, socketPort } = rewrite
    return [
      ruleBody(table, rewrite, { chain: 'input', addressAt: 16, portAt: 2, from: port, to: socketPort }),
      ruleBody(table, rewrite, { chain: 'output', addressAt: 12, portAt: 0, from: socketPort, to: port }),
    ]
  })
  return [
    // Made, removed and made again: so the transaction is the same whether the table was there or not.
    { type: message.newTable, flags: create, body: tableBody },
    { type: message.deleteTable, flags: 0, body: tableBody },
    { type: message.newTable, flags: create, body: tableBody },
    ...chains.map(body => ({ type: message.newChain, flags: create, body })),
    ...rules.map(body => ({ type: message.newRule, flags: create | 0x800, body })),
  ]
}

const encode = (part: Part, family: number, sequence: number): Buffer => {
  const plain = part.type >= message.batchBegin
  const header = Buffer.alloc(20)
  header.writeUInt32LE(header.length + part.body.length, 0)
  header.writeUInt16LE(plain ? part.type : SUBSYSTEM | part.type, 4)
  header.writeUInt16LE(part.flags | flags.request, 6)
  header.writeUInt32LE(sequence, 8)
  header.writeUInt8(family, 16)
  if (plain) header.writeUInt16BE(SUBSYSTEM >> 8, 18)
  return Buffer.concat([header, part.body])
}

const empty = Buffer.alloc(0)

/** The transaction as one datagram, and the number of its last change, which alone is acknowledged. */
const transaction = (changes: Part[]): { bytes: Buffer; last: number } => {
  const last = changes.length
  const encoded = changes.map((part, i) => {
    const acknowledged = i + 1 === last ? { ...part, flags: part.flags | flags.ack } : part
    return encode(acknowledged, AF_INET, i + 1)
  })
  const begin = encode({ type: message.batchBegin, flags: 0, body: empty }, 0, 0)
  const end = encode({ type: message.batchEnd, flags: 0, body: empty }, 0, last + 1)
  return { bytes: Buffer.concat([begin, ...encoded, end]), last }
}

/**
 * Makes the table with these rules in the namespace of the calling thread, in
 * place of one of the same name; all or nothing. System calls only, so it may
 * run inside `inNamespace`. Errors: SystemError (`ENOENT`, `EOPNOTSUPP` where
 * the kernel lacks nf_tables).
 */
export const rewritePorts = (table: string, rewrites: readonly PortRewrite[]): void => {
  const fd = openNetlink(protocols.netfilter)
  try {
    const { bytes, last } = transaction(parts(table, rewrites))
    send(fd, bytes, bytes.length, 0)
    for (;;) {
      for (const answer of receiveNetlink(fd)) {
        if (answer.type !== NLMSG_ERROR) continue
        const code = -answer.body.readInt32LE(0)
        if (code !== 0) throw new SystemError('netlink', code, `make the table ${table}`)
        if (answer.sequence === last) return
      }
    }
  } finally {
    close(fd)
  }
}
