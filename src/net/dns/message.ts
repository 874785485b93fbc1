/**
 * The wire form of DNS (RFC 1035, EDNS0 of RFC 6891), as far as a forwarder
 * needs it. Records are never taken apart: an upstream's bytes go to the asker
 * as they came, whatever their types, with only TTLs, id and question exchanged.
 */

export const recordType = { a: 1, soa: 6, ptr: 12, mx: 15, aaaa: 28, opt: 41 }
export const rcode = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVersion: 16,
}
export const flag = {
  response: 0x8000,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
}

export const headerLength = 12
const opcodeMask = 0x7800
/** What of a query's flags matters to who answers it: RD, AD, CD. */
const askedFlags = 0x0130
/** What of an upstream's flags goes on to the asker: AA, RA, AD, CD. */
const passedFlags = 0x04b0
const maxNameLength = 255
/** The size that answers have without EDNS, and the least one with it. */
const plainSize = 512
/** The largest datagram that an asker gets, whatever it allows. */
const largestDatagram = 4096

export interface Edns {
  /** The largest datagram that the asker takes. */
  size: number
  version: number
  /** It wants DNSSEC records (DO). */
  dnssec: boolean
}

export interface Question {
  /** The question's bytes as asked: name, type, class. */
  bytes: Buffer
  /** The name in lower case without its final dot; undefined where a label has bytes that no host name has. */
  name: string | undefined
  type: number
  class: number
}

export interface Query {
  id: number
  question: Question
  /** RD, AD and CD as they were asked. */
  flags: number
  edns: Edns | undefined
}

/** Where a record ends in an answer's body, and where its TTL is. */
export interface RecordPlace {
  section: 0 | 1 | 2
  type: number
  ttlAt: number
  end: number
}

/** An answer without its header, question and OPT: the same for whoever asks it. */
export interface Answer {
  /** AA, RA, AD and CD. */
  flags: number
  /** With the upper bits that EDNS adds. */
  rcode: number
  truncated: boolean
  /** The records' bytes; names in them point into a message with the question before. */
  body: Buffer
  records: RecordPlace[]
}

interface Name {
  /** Offset behind it. */
  end: number
  text: string | undefined
}

const isHostByte = (byte: number): boolean => byte > 0x20 && byte < 0x7f && byte !== 0x2e

/** A question's name, which cannot be compressed; undefined where it is none. */
const readName = (bytes: Buffer, start: number): Name | undefined => {
  const labels: string[] = []
  let plain = true
  for (let at = start; at < bytes.length && at - start < maxNameLength; ) {
    const length = bytes[at] ?? 0
    if (length === 0) return { end: at + 1, text: plain ? labels.join('.').toLowerCase() : undefined }
    if (length > 63) return undefined
    const label = bytes.subarray(at + 1, at + 1 + length)
    plain &&= label.every(isHostByte)
    labels.push(label.toString('latin1'))
    at += 1 + length
  }
  return undefined
}

const readQuestion = (bytes: Buffer): Question | undefined => {
  const name = readName(bytes, headerLength)
  if (!name || name.end + 4 > bytes.length) return undefined
  return {
    bytes: bytes.subarray(headerLength, name.end + 4),
    name: name.text,
    type: bytes.readUInt16BE(name.end),
    class: bytes.readUInt16BE(name.end + 2),
  }
}

/** The offset behind a record's name, which may end in a pointer. */
const skipName = (bytes: Buffer, start: number): number | undefined => {
  for (let at = start; at < bytes.length; ) {
    const length = bytes[at] ?? 0
    if (length === 0) return at + 1
    if (length >= 0xc0) return at + 2
    if (length > 63) return undefined
    at += 1 + length
  }
  return undefined
}

interface RawRecord {
  /** Offset of its type. */
  at: number
  type: number
  end: number
}

const readRecord = (bytes: Buffer, start: number): RawRecord | undefined => {
  const at = skipName(bytes, start)
  if (at === undefined || at + 10 > bytes.length) return undefined
  const end = at + 10 + bytes.readUInt16BE(at + 8)
  return end > bytes.length ? undefined : { at, type: bytes.readUInt16BE(at), end }
}

/** A malformed or unwelcome query that still gets an answer. */
export interface Refusal {
  id: number
  /** Opcode and RD, echoed. */
  flags: number
  rcode: number
  question: Question | undefined
  edns: Edns | undefined
}

export type ParsedQuery = { query: Query } | { refusal: Refusal } | { drop: true }

/** Types that are asked of no resolver: transfers are refused, the rest of the range is no type of data. */
const refusedType = (type: number): number | undefined => {
  if (type === 251 || type === 252) return rcode.refused
  return type === recordType.opt || (type >= 128 && type <= 250) ? rcode.formErr : undefined
}

const ednsOf = (bytes: Buffer, { at, end }: RawRecord): Edns | undefined => {
  // The name of an OPT is the root: one byte before its type.
  if (bytes[at - 1] !== 0 || end < at + 10) return undefined
  return {
    size: bytes.readUInt16BE(at + 2),
    version: bytes[at + 5] ?? 0,
    dnssec: ((bytes[at + 6] ?? 0) & 0x80) !== 0,
  }
}

/**
 * A query as it came. What is no query at all (too short, a response) is
 * dropped, so that nobody is made to answer answers; what is malformed behind
 * a header is refused with FORMERR, other opcodes with NOTIMP. Never throws.
 */
export const parseQuery = (bytes: Buffer): ParsedQuery => {
  if (bytes.length < headerLength) return { drop: true }
  const flags = bytes.readUInt16BE(2)
  if (flags & flag.response) return { drop: true }
  const refuse = (code: number, question?: Question, edns?: Edns): ParsedQuery => {
    const echoed = flags & (opcodeMask | flag.recursionDesired)
    return { refusal: { id: bytes.readUInt16BE(0), flags: echoed, rcode: code, question, edns } }
  }
  if (flags & opcodeMask) return refuse(rcode.notImp)
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map(at => bytes.readUInt16BE(at))
  const question = questions === 1 ? readQuestion(bytes) : undefined
  if (!question || answers || authorities || (additionals ?? 0) > 1) return refuse(rcode.formErr)
  let edns: Edns | undefined
  if (additionals === 1) {
    const record = readRecord(bytes, headerLength + question.bytes.length)
    if (!record) return refuse(rcode.formErr, question)
    if (record.type === recordType.opt) {
      edns = ednsOf(bytes, record)
      if (!edns) return refuse(rcode.formErr, question)
      if (edns.version !== 0) return refuse(rcode.badVersion, question, edns)
    }
  }
  const unwelcome = refusedType(question.type)
  if (unwelcome !== undefined) return refuse(unwelcome, question, edns)
  return { query: { id: bytes.readUInt16BE(0), question, flags: flags & askedFlags, edns } }
}

/** The largest datagram this asker may be sent. */
export const datagramLimit = (edns: Edns | undefined): number =>
  edns ? Math.min(Math.max(edns.size, plainSize), largestDatagram) : plainSize

const lowerCase = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte)

/** The question with its name in lower case: what is asked upstream, and compared by. Lengths before labels are below the letters. */
export const foldCase = (question: Buffer): Buffer => {
  const folded = Buffer.from(question)
  const name = folded.subarray(0, folded.length - 4)
  for (const [at, byte] of name.entries()) name[at] = lowerCase(byte)
  return folded
}

interface Section {
  records: RecordPlace[]
  /** Offset at which the body ends. */
  end: number
  extendedRcode: number
}

/** The records of a response up to its OPT: what stands behind that is additional, and may be left out. */
const readRecords = (bytes: Buffer, start: number): Section | undefined => {
  const records: RecordPlace[] = []
  let end = start
  for (const section of [0, 1, 2] as const) {
    for (let left = bytes.readUInt16BE(6 + 2 * section); left > 0; left--) {
      const record = readRecord(bytes, end)
      if (!record) return undefined
      const { at, type } = record
      if (type === recordType.opt) return { records, end, extendedRcode: (bytes[at + 4] ?? 0) << 4 }
      end = record.end
      records.push({ section, type, ttlAt: at + 4 - start, end: end - start })
    }
  }
  return { records, end, extendedRcode: 0 }
}

/**
 * An upstream's answer to what was asked; undefined where it is none: another
 * id, another question, malformed. `question` is as `foldCase` gives it. Never throws.
 */
export const parseAnswer = (bytes: Buffer, asked: { id: number; question: Buffer }): Answer | undefined => {
  if (bytes.length < headerLength || bytes.readUInt16BE(0) !== asked.id) return undefined
  const flags = bytes.readUInt16BE(2)
  if (!(flags & flag.response) || flags & opcodeMask) return undefined
  const start = headerLength + asked.question.length
  const failed = (flags & 0xf) !== rcode.noError && (flags & 0xf) !== rcode.nxDomain
  const answer = { flags: flags & passedFlags, rcode: flags & 0xf, truncated: false }
  // Some servers refuse with a bare header.
  if (failed && bytes.readUInt16BE(4) === 0) return { ...answer, body: Buffer.alloc(0), records: [] }
  if (bytes.readUInt16BE(4) !== 1 || bytes.length < start) return undefined
  if (!foldCase(bytes.subarray(headerLength, start)).equals(asked.question)) return undefined
  const truncated = (flags & flag.truncated) !== 0
  const section = readRecords(bytes, start)
  if (!section) return truncated ? { ...answer, truncated, body: Buffer.alloc(0), records: [] } : undefined
  return {
    flags: answer.flags,
    rcode: answer.rcode | section.extendedRcode,
    truncated,
    body: Buffer.from(bytes.subarray(start, section.end)),
    records: section.records,
  }
}
