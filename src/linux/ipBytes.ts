/** Addresses as the kernel's messages hold them: 4 or 16 bytes. */

export const AF_INET = 2
export const AF_INET6 = 10
export type FamilyNumber = typeof AF_INET | typeof AF_INET6
export const familyNumbers: readonly FamilyNumber[] = [AF_INET, AF_INET6]

export const familyNumber = (address: string): FamilyNumber => (address.includes(':') ? AF_INET6 : AF_INET)

/** Groups of an address without `::`; what stands in dots at its end is two. */
const groups = (text: string): number[] =>
  text === ''
    ? []
    : text.split(':').flatMap(group => {
        if (!group.includes('.')) return [Number.parseInt(group, 16)]
        const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
        return [a * 256 + b, c * 256 + d]
      })

/** Of a text that is an address. */
export const ipBytes = (address: string): Buffer => {
  if (familyNumber(address) === AF_INET) return Buffer.from(address.split('.').map(Number))
  const [front = '', back] = address.split('::')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of groups(front).entries()) bytes.writeUInt16BE(group, index * 2)
  const tail = groups(back ?? '')
  for (const [index, group] of tail.entries()) bytes.writeUInt16BE(group, 16 - (tail.length - index) * 2)
  return bytes
}

/** The inverse, in the form of RFC 5952; empty for bytes that are no address. */
export const ipText = (bytes: Buffer | undefined): string => {
  if (bytes?.length === 4) return bytes.join('.')
  if (bytes?.length !== 16) return ''
  const all = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2))
  const [at, length] = longestZeros(all)
  const text = (part: number[]): string => part.map(group => group.toString(16)).join(':')
  return length < 2 ? text(all) : `${text(all.slice(0, at))}::${text(all.slice(at + length))}`
}

/** Where the first of the longest runs of zeros is, and its length. */
const longestZeros = (all: number[]): [at: number, length: number] => {
  let best: [number, number] = [0, 0]
  let from = 0
  for (let index = 0; index <= all.length; index++) {
    if (index < all.length && all[index] === 0) continue
    if (index - from > best[1]) best = [from, index - from]
    from = index + 1
  }
  return best
}
