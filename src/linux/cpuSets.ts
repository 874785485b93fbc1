import { badRequest } from '../core/errors.ts'

/** Lists of CPUs and memory nodes as control groups write them: `0-3,7`. */

type Range = [first: number, last: number]

/** What the kernel can be built for; a longer list is a mistake. */
const highest = 8192

/** Errors: in Docker's words, for what is no list. */
export const parseCpuSet = (text: string): Range[] => {
  if (text === '') return []
  return text.split(',').map(part => {
    const [, first = '', last = first] = /^\+?(\d+)(?:-\+?(\d+))?$/.exec(part) ?? []
    if (first === '' || Number(last) < Number(first)) throw badRequest(`invalid format: ${text}`)
    if (Number(last) > highest) throw badRequest(`value of out range, maximum is ${highest}`)
    return [Number(first), Number(last)]
  })
}

/** Whether each of `wanted` is in `available`. */
export const containsCpuSet = (available: string, wanted: string): boolean => {
  const have = parseCpuSet(available)
  return parseCpuSet(wanted).every(([first, last]) => {
    for (let at = first; at <= last; at++)
      if (!have.some(([from, to]) => at >= from && at <= to)) return false
    return true
  })
}
