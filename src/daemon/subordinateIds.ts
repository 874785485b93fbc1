import { readFileSync } from 'node:fs'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import type { IdRange } from '../linux/idMaps.ts'

/** Subordinate ids of users: /etc/subuid, /etc/subgid (subuid(5)). */

export interface SubordinateRange {
  user: string
  first: number
  count: number
}

/** More lines in a map the kernel does not take (user_namespaces(7)). One is needed for root of the host. */
const maxRanges = 339

const number = (text = ''): number => (/^\d+$/.test(text) ? Number(text) : 0)

/** Lines of another form are left out. */
export const parseSubordinateIds = (text: string): SubordinateRange[] =>
  text.split('\n').flatMap(line => {
    const [user = '', first, count] = line.trim().split(':')
    const range = { user, first: number(first), count: number(count) }
    return user === '' || user.startsWith('#') || range.count === 0 ? [] : [range]
  })

export const readSubordinateIds = (file: string): SubordinateRange[] => {
  try {
    return parseSubordinateIds(readFileSync(file, 'utf8'))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw badRequest(`open ${file}: no such file or directory`, error)
    throw badRequest(`open ${file}: ${messageOf(error)}`, error)
  }
}

/** The ranges of a user one after the other, from 0 on inside. Errors: `bad-request` in Docker's words. */
export const mapOfUser = (
  ranges: readonly SubordinateRange[],
  { name, uid }: { name: string; uid: number },
): IdRange[] => {
  const own = ranges.filter(({ user }) => user === name || user === String(uid))
  if (own.length === 0) throw badRequest(`no subuid ranges found for user ${JSON.stringify(name)}`)
  if (own.length > maxRanges)
    throw badRequest(
      `user ${JSON.stringify(name)} has ${own.length} subordinate ranges, more than ${maxRanges}`,
    )
  let inside = 0
  return own.map(({ first, count }) => {
    const range = { inside, outside: first, count }
    inside += count
    return range
  })
}

const length = 65536
const lowest = 100_000

/** Where so many ids are that nobody has. */
export const freeStart = (ranges: readonly SubordinateRange[]): number => {
  let start = lowest
  for (const { first, count } of ranges.toSorted((a, b) => a.first - b.first))
    if (first < start + length && first + count > start) start = first + count
  return start
}

/** A new range as usermod(8) takes it. */
export const newRange = (ranges: readonly SubordinateRange[]): string => {
  const start = freeStart(ranges)
  return `${start}-${start + length - 1}`
}
