/** Maps between the ids of a user namespace and those outside of it. Pure. */

/** As in user_namespaces(7): so many ids from `inside` on are those from `outside` on. */
export interface IdRange {
  inside: number
  outside: number
  count: number
}

export interface IdMaps {
  uids: readonly IdRange[]
  gids: readonly IdRange[]
}

/** What the kernel shows in place of an id that is not in the maps. */
export const nobody = 65534

/** The id outside; undefined where there is none. */
export const outsideOf = (ranges: readonly IdRange[], id: number): number | undefined => {
  const range = ranges.find(({ inside, count }) => id >= inside && id < inside + count)
  return range && id - range.inside + range.outside
}

/** The id inside, as the kernel shows it there. */
export const insideOf = (ranges: readonly IdRange[], id: number): number => {
  const range = ranges.find(({ outside, count }) => id >= outside && id < outside + count)
  return range ? id - range.outside + range.inside : nobody
}

/** What root inside is outside. */
export const rootOf = ({ uids, gids }: IdMaps): { uid: number; gid: number } => ({
  uid: outsideOf(uids, 0) ?? 0,
  gid: outsideOf(gids, 0) ?? 0,
})

/** The first id inside that the ranges do not have. */
export const endOf = (ranges: readonly IdRange[]): number =>
  Math.max(0, ...ranges.map(({ inside, count }) => inside + count))

/** The last id that there is: no image has anything of it. */
const last = 2 ** 32 - 2

const rangesWithRoot = (ranges: readonly IdRange[]): IdRange[] =>
  ranges.some(({ outside, count }) => outside === 0 && count > 0)
    ? [...ranges]
    : [...ranges, { inside: last, outside: 0, count: 1 }]

/** The maps with a number inside for root outside, where it has none: the last one. */
export const withHostRoot = ({ uids, gids }: IdMaps): IdMaps => ({
  uids: rangesWithRoot(uids),
  gids: rangesWithRoot(gids),
})

const sameRanges = (a: readonly IdRange[], b: readonly IdRange[]): boolean =>
  a.length === b.length &&
  a.every(({ inside, outside, count }, index) => {
    const other = b[index]
    return other?.inside === inside && other.outside === outside && other.count === count
  })

export const sameMaps = (a: IdMaps | undefined, b: IdMaps | undefined): boolean =>
  a && b ? sameRanges(a.uids, b.uids) && sameRanges(a.gids, b.gids) : a === b

/** As `uid_map` takes it. */
export const mapText = (ranges: readonly IdRange[]): string =>
  ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('')
