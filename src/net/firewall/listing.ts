import type { Element } from './rules.ts'

/** Reads elements back from libnftables' JSON. Pure. */

type Json = Record<string, unknown>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

const textOfPart = (part: unknown, quote: boolean): string =>
  typeof part === 'string' && quote ? JSON.stringify(part) : String(part)

/** `{"concat": ["tcp", 80]}` as `tcp . 80`. */
const textOfValue = (value: unknown, quote: boolean): string => {
  const parts = isObject(value) && Array.isArray(value['concat']) ? value['concat'] : [value]
  return parts.map(part => textOfPart(part, quote)).join(' . ')
}

const interfaceSets = new Set(['bridges', 'inside', 'outgoing'])

const readElement = (set: string, raw: unknown, isMap: boolean): Element => {
  const [left, right] = isMap && Array.isArray(raw) ? raw : [raw, undefined]
  const wrapped: Json = isObject(left) && isObject(left['elem']) ? left['elem'] : { val: left }
  // Interface names are quoted as we write them; addresses, protocols and ports are not.
  const quote = interfaceSets.has(set)
  return {
    set,
    key: textOfValue(wrapped['val'], quote),
    value: right === undefined ? '' : textOfValue(right, false),
    owner: typeof wrapped['comment'] === 'string' ? wrapped['comment'] : '',
  }
}

/** All elements of all sets and maps in a `list table`. */
export const readElements = (objects: Json[]): Element[] =>
  objects.flatMap(object => {
    const isMap = isObject(object['map'])
    const container = isMap ? object['map'] : object['set']
    if (!isObject(container) || !Array.isArray(container['elem'])) return []
    const set = String(container['name'])
    return container['elem'].map(raw => readElement(set, raw, isMap))
  })

export interface ElementChanges {
  missing: Element[]
  extra: Element[]
}

const identity = ({ set, key, value, owner }: Element): string => [set, key, value, owner].join('\0')

/** What to add and what to take away, so that `actual` becomes `expected`. */
export const compareElements = (expected: Element[], actual: Element[]): ElementChanges => {
  const wanted = new Set(expected.map(identity))
  const there = new Set(actual.map(identity))
  return {
    missing: expected.filter(element => !there.has(identity(element))),
    extra: actual.filter(element => !wanted.has(identity(element))),
  }
}
