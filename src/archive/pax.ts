import { badRequest } from '../core/errors.ts'

/** PAX extended headers: `length key=value\n` records (pax(1), "pax Header Block"). Keys and values are bytes. */
export type PaxRecords = Map<string, Buffer>

const bad = (why: string): Error => badRequest(`invalid PAX header: ${why}`)

/** Adds the records of one header to `into`. An empty value takes an earlier one away. Errors: `bad-request`. */
export const parsePax = (bytes: Buffer, into: PaxRecords): void => {
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at)
    // Writers pad with zeros; a length has at most 7 digits below the size limit of a header.
    if (bytes[at] === 0) return
    if (space < 0 || space === at || space - at > 10) throw bad('record without a length')
    const digits = bytes.toString('latin1', at, space)
    const end = at + (/^\d+$/.test(digits) ? Number(digits) : Number.NaN)
    if (!(end > space + 1) || end > bytes.length || bytes[end - 1] !== 10) throw bad('record of wrong length')
    const equals = bytes.indexOf(61, space + 1)
    if (equals < 0 || equals >= end) throw bad('record without a value')
    addRecord(into, bytes.toString('latin1', space + 1, equals), bytes.subarray(equals + 1, end - 1))
    at = end
  }
}

// GNU.sparse 0.0 repeats these two keys; they are gathered into the map of version 0.1.
const addRecord = (into: PaxRecords, key: string, value: Buffer): void => {
  if (key === '') throw bad('record without a key')
  if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
    const gathered = into.get('GNU.sparse.gathered')
    into.set('GNU.sparse.gathered', gathered ? Buffer.concat([gathered, comma, value]) : Buffer.from(value))
  } else into.set(key, Buffer.from(value))
}
const comma = Buffer.from(',')

/** One record with its own length in front. */
export const paxRecord = (key: string, value: Uint8Array | string): Buffer => {
  const body = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), Buffer.from(value), Buffer.from('\n')])
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

/** SCHILY.xattr values are raw; LIBARCHIVE's are base64 under a URL-encoded name. The former wins. */
export const xattrsOf = (records: PaxRecords): Map<string, Buffer> => {
  const found = new Map<string, Buffer>()
  for (const [key, value] of records)
    if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = decodeName(key.slice('LIBARCHIVE.xattr.'.length))
      if (name && !records.has(`SCHILY.xattr.${name}`))
        found.set(name, Buffer.from(value.toString('latin1'), 'base64'))
    } else if (key.startsWith('SCHILY.xattr.')) found.set(key.slice('SCHILY.xattr.'.length), value)
  return found
}

const decodeName = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
