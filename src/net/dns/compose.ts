import { randomInt } from 'node:crypto'
import { ipBytes } from '../../linux/ipBytes.ts'
import {
  type Answer,
  type Edns,
  flag,
  headerLength,
  type Query,
  type Question,
  type RecordPlace,
  type Refusal,
  rcode,
  recordType,
} from './message.ts'

/** Messages made here: answers from their parts, fitted to the asker, and the queries sent upstream. */

/** What every resolver can receive without fragments (DNS flag day 2020). */
const ednsSize = 1232
/** Docker's. */
const ownTtl = 600
const optLength = 11
const classIn = 1
/** A name that points to the question's. */
const pointer = Buffer.from([0xc0, headerLength])
const nothing = Buffer.alloc(0)

/** An answer without records. */
export const emptyAnswer = (code: number): Answer => ({
  flags: flag.recursionAvailable,
  rcode: code,
  truncated: false,
  body: nothing,
  records: [],
})

const ownAnswer = (type: number, datas: Buffer[]): Answer => {
  const records: RecordPlace[] = []
  const parts: Buffer[] = []
  let end = 0
  for (const data of datas) {
    const head = Buffer.alloc(10)
    head.writeUInt16BE(type, 0)
    head.writeUInt16BE(classIn, 2)
    head.writeUInt32BE(ownTtl, 4)
    head.writeUInt16BE(data.length, 8)
    parts.push(pointer, head, data)
    records.push({ section: 0, type, ttlAt: end + 6, end: end + 12 + data.length })
    end += 12 + data.length
  }
  return { ...emptyAnswer(rcode.noError), body: Buffer.concat(parts), records }
}

/** A or AAAA records of a container's name, in the given order; addresses are of one family. */
export const addressAnswer = (addresses: readonly string[]): Answer => {
  const isIpv6 = addresses[0]?.includes(':') ?? false
  return ownAnswer(isIpv6 ? recordType.aaaa : recordType.a, addresses.map(ipBytes))
}

const encodeName = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').flatMap(label => {
      const bytes = Buffer.from(label, 'latin1').subarray(0, 63)
      return [Buffer.of(bytes.length), bytes]
    }),
    Buffer.of(0),
  ])

/** The PTR record of a container's address. `name` without its final dot. */
export const nameAnswer = (name: string): Answer => ownAnswer(recordType.ptr, [encodeName(name)])

const optRecord = (code: number, dnssec: boolean): Buffer => {
  const bytes = Buffer.alloc(optLength)
  bytes.writeUInt16BE(recordType.opt, 1)
  bytes.writeUInt16BE(ednsSize, 3)
  bytes.writeUInt8((code >> 4) & 0xff, 5)
  if (dnssec) bytes.writeUInt8(0x80, 7)
  return bytes
}

const header = (id: number, flags: number, counts: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeUInt16BE(id, 0)
  bytes.writeUInt16BE(flags, 2)
  for (const [i, count] of counts.entries()) bytes.writeUInt16BE(count, 4 + 2 * i)
  return bytes
}

interface Fitted {
  records: RecordPlace[]
  truncated: boolean
}

/**
 * The records that fit into `room` bytes. Additional ones may be left out
 * unsaid (RFC 2181, 9); where others are, the answer is truncated, and has as
 * many whole records as fit: some clients never ask again over TCP.
 */
const fit = (answer: Answer, room: number): Fitted => {
  const { records, truncated } = answer
  if (answer.body.length <= room) return { records, truncated }
  const needed = records.filter(({ section }) => section !== 2)
  if ((needed.at(-1)?.end ?? 0) <= room) return { records: needed, truncated }
  return { records: needed.filter(({ section, end }) => section === 0 && end <= room), truncated: true }
}

interface Reply {
  id: number
  /** Opcode, RD and what else is echoed. */
  flags: number
  question: Question | undefined
  edns: Edns | undefined
}

/** The message for one asker, of at most `limit` bytes. */
const render = (reply: Reply, answer: Answer, limit: number): Buffer => {
  const question = reply.question?.bytes ?? nothing
  const opt = reply.edns ? optRecord(answer.rcode, reply.edns.dnssec) : nothing
  const room = limit - headerLength - question.length - opt.length
  const { records, truncated } = fit(answer, room)
  const counts = [0, 1, 2].map(section => records.filter(record => record.section === section).length)
  const [answers = 0, authorities = 0, additionals = 0] = counts
  // Without EDNS its codes cannot be said.
  const code = answer.rcode > 0xf && !reply.edns ? rcode.servFail : answer.rcode & 0xf
  const flags = reply.flags | answer.flags | flag.response | code | (truncated ? flag.truncated : 0)
  const sizes = [reply.question ? 1 : 0, answers, authorities, additionals + (reply.edns ? 1 : 0)]
  const body = answer.body.subarray(0, records.at(-1)?.end ?? 0)
  return Buffer.concat([header(reply.id, flags, sizes), question, body, opt])
}

/** The answer for who asked. `limit` is what its transport carries. */
export const renderAnswer = (query: Query, answer: Answer, limit: number): Buffer =>
  // AD is said by the answer, not echoed.
  render({ ...query, flags: query.flags & ~0x0020 }, answer, limit)

export const renderRefusal = (refusal: Refusal): Buffer => render(refusal, emptyAnswer(refusal.rcode), 65_535)

/** A query for an upstream with an id that nobody can guess. */
export interface Outgoing {
  id: number
  bytes: Buffer
}

/** `question` as `foldCase` gives it; without `edns` for servers that do not know it. */
export const outgoing = (
  query: { question: Buffer; flags: number; dnssec: boolean },
  edns: boolean,
): Outgoing => {
  const id = randomInt(0x10000)
  const opt = edns ? optRecord(0, query.dnssec) : nothing
  const head = header(id, query.flags, [1, 0, 0, edns ? 1 : 0])
  return { id, bytes: Buffer.concat([head, query.question, opt]) }
}
