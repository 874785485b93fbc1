import type { Element } from './elements.ts'

/** Reads elements back from libnftables' JSON. Pure. */

type Json = Record<string, unknown>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

/** `{"range": [80, 90]}` as `80-90`, `{"prefix": {"addr": "10.0.0.0", "len": 8}}` as `10.0.0.0/8`. */
const textOfPart = (part: unknown, quote: boolean): string => {
  if (!isObject(part)) return typeof part === 'string' && quote ? JSON.stringify(part) : String(part)
  if (Array.isArray(part['range'])) return part['range'].join('-')
  const prefix = isObject(part['prefix']) ? part['prefix'] : {}
  return `${prefix['addr']}/${prefix['len']}`
}

/** `{"concat": ["tcp", 80]}` as `tcp . 80`. Interface names are quoted, as we write them; nothing else is. */
const textOfValue = (value: unknown, types: string[]): string => {
  const parts = isObject(value) && Array.isArray(value['concat']) ? value['concat'] : [value]
  return parts.map((part, i) => textOfPart(part, types[i] === 'ifname')).join(' . ')
}

/** `"ifname"` or `["ifname", "ifname"]` */
const typesOf = ({ type }: Json): string[] => (Array.isArray(type) ? type.map(String) : [String(type)])

const readElement = (container: Json, raw: unknown, isMap: boolean): Element => {
  const [left, right] = isMap && Array.isArray(raw) ? raw : [raw, undefined]
  const wrapped: Json = isObject(left) && isObject(left['elem']) ? left['elem'] : { val: left }
  return {
    set: String(container['name']),
    key: textOfValue(wrapped['val'], typesOf(container)),
    value: right === undefined ? '' : textOfValue(right, []),
    owner: typeof wrapped['comment'] === 'string' ? wrapped['comment'] : '',
  }
}

/** All elements of all sets and maps in a `list table`. */
export const readElements = (objects: Json[]): Element[] =>
  objects.flatMap(object => {
    const isMap = isObject(object['map'])
    const container = isMap ? object['map'] : object['set']
    if (!isObject(container) || !Array.isArray(container['elem'])) return []
    return container['elem'].map(raw => readElement(container, raw, isMap))
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
