import { digestHex, digestOf } from '../../oci/digest.ts'
import { Filters } from '../../wire/filters.ts'
import { shownAge, shownBytes } from '../images/cleanUp/shown.ts'
import { globToRegExp } from '../images/globs.ts'
import type { CleanedType, CleanUpPlan, CleanUpRules, CleanUpSettings, Removal, Unused } from './types.ts'

/** Which of what nobody uses goes, and why: pure. */

const keepKeys = ['label', 'label!', 'name']

/** `label=keep`, `name=ci-*`, as a filter. Undefined for what is none. */
export const keepRule = (
  text: string,
): ((unused: Pick<Unused, 'name' | 'labels'>) => boolean) | undefined => {
  const at = text.indexOf('=')
  const [key, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)]
  if (!keepKeys.includes(key) || value === '') return undefined
  if (key === 'name') {
    const pattern = globToRegExp(value)
    return ({ name }) => pattern.test(name)
  }
  const filters = Filters.parse(JSON.stringify({ label: [value] }), ['label'])
  return ({ labels }) => filters.labels('label', labels) !== (key === 'label!')
}

const keptBy = ({ keep }: CleanUpRules, unused: Unused): string => {
  const rule = keep.find(text => keepRule(text)?.(unused))
  return rule === undefined ? '' : `kept by ${rule}`
}

interface Verdict {
  goes: boolean
  why: string
}

/** One kind, the longest unused first. */
const judge = (rules: CleanUpRules, unused: readonly Unused[], now: number): Removal[][] => {
  const inOrder = [...unused].sort((a, b) => a.lastNeeded - b.lastNeeded || (a.id < b.id ? -1 : 1))
  let taken = unused.reduce((sum, { bytes }) => sum + bytes, 0)
  const verdict = (each: Unused, index: number): Verdict => {
    const kept = keptBy(rules, each)
    if (kept) return { goes: false, why: kept }
    if (index >= inOrder.length - rules.keepLast)
      return { goes: false, why: `one of the last ${rules.keepLast}` }
    const age = now - each.lastNeeded
    const { maxAge, maxSize } = rules
    if (maxAge !== undefined && age > maxAge)
      return { goes: true, why: `not needed for ${shownAge(age)}, longer than max-age ${shownAge(maxAge)}` }
    if (maxSize !== undefined && taken > maxSize && each.bytes > 0)
      return {
        goes: true,
        why: `unused ${each.type}s take ${shownBytes(taken)}, more than max-size ${shownBytes(maxSize)}`,
      }
    return { goes: false, why: 'within the limits' }
  }
  const [removals, stays]: [Removal[], Removal[]] = [[], []]
  for (const [index, each] of inOrder.entries()) {
    const { goes, why } = verdict(each, index)
    if (goes) taken -= each.bytes
    const list = goes ? removals : stays
    list.push({ ...each, why })
  }
  return [removals, stays]
}

/** Containers go first, so that what only they used is unused at the next clean-up. */
const order: readonly CleanedType[] = ['container', 'network', 'volume']

export const planCleanUp = (
  settings: CleanUpSettings,
  unused: readonly Unused[],
  now: number,
): CleanUpPlan => {
  const judged = order.flatMap(type => {
    const rules = settings[type]
    return rules
      ? [
          judge(
            rules,
            unused.filter(each => each.type === type),
            now,
          ),
        ]
      : []
  })
  const removals = judged.flatMap(([going = []]) => going)
  return {
    id: digestHex(digestOf(JSON.stringify(removals.map(({ type, id }) => [type, id])))).slice(0, 16),
    removals,
    stays: judged.flatMap(([, staying = []]) => staying),
    bytes: removals.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}
