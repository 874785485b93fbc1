import { parseSize } from '../../wire/sizes.ts'
import { truthOf } from '../../wire/truth.ts'
import { quote } from './characters.ts'
import { DockerfileError } from './errors.ts'
import { fieldsOf, readField } from './fields.ts'
import { withSuggestion } from './suggestion.ts'
import type { MountSharing, MountText, MountType, RunMount, Text } from './types.ts'

/** `RUN --mount=…`. */

const types: MountType[] = ['bind', 'cache', 'tmpfs', 'secret', 'ssh']
const sharings: MountSharing[] = ['shared', 'private', 'locked']

/** The mount as far as it is known before variables are: where it is from. */
export const readMountText = (text: Text): MountText => {
  let from: string | undefined
  for (const field of fieldsOf(text.value, 'mounts')) {
    const { key, value } = readField(field)
    if (key !== 'from' || value === undefined) continue
    const dollar = value.indexOf('$')
    if (dollar >= 0 && dollar !== value.length - 1)
      throw new DockerfileError(`'from' doesn't support variable expansion, define alias stage instead`)
    from = value
  }
  return { text, ...(from ? { from } : {}) }
}

const oneOf = <T extends string>(value: string, options: T[], what: string): T => {
  const found = options.find(option => option === value.toLowerCase())
  if (!found) throw new DockerfileError(withSuggestion(`unsupported ${what} ${quote(value)}`, value, options))
  return found
}

const truth = (key: string, value: string): boolean => {
  const is = truthOf(value)
  if (is === undefined) throw new DockerfileError(`invalid value for ${key}: ${value}`)
  return is
}

/** An unsigned number of 32 bits. */
const numberOf = (key: string, value: string, base: 8 | 10): number => {
  const form = base === 8 ? /^[0-7]+$/ : /^[0-9]+$/
  const number = form.test(value) ? Number.parseInt(value, base) : Number.NaN
  if (!(number <= 0xffff_ffff)) throw new DockerfileError(`invalid value ${value} for ${key}`)
  return number
}

/** A mount that is being read: whether it can be written to may follow from its type. */
type Draft = Omit<RunMount, 'readOnly'> & { readOnly?: boolean }

const onlyFor = (draft: Draft, key: string, allowed: MountType[]): void => {
  if (!allowed.includes(draft.type))
    throw new DockerfileError(`unexpected key '${key}' for mount type '${draft.type}'`)
}

type SetKey = (draft: Draft, value: string, key: string) => void

const setSource: SetKey = (draft, value) => {
  draft.source = value
}
const setTarget: SetKey = (draft, value) => {
  draft.target = value
}
const setReadOnly: SetKey = (draft, value, key) => {
  draft.readOnly = truth(key, value)
}
const setReadWrite: SetKey = (draft, value, key) => {
  draft.readOnly = !truth(key, value)
}

const setSize: SetKey = (draft, value, key) => {
  onlyFor(draft, key, ['tmpfs'])
  const size = parseSize(value.replace(/^\./, '0.'))
  if (size === undefined) throw new DockerfileError(`invalid value for ${key}: ${value}`)
  draft.size = size
}

/** In the order in which they are suggested. */
const keys: Record<string, SetKey> = {
  type: (draft, value) => {
    draft.type = oneOf(value, types, 'mount type')
  },
  from: (draft, value) => {
    draft.from = value
  },
  source: setSource,
  target: setTarget,
  readonly: setReadOnly,
  id: (draft, value) => {
    draft.id = value
  },
  sharing: (draft, value) => {
    draft.sharing = oneOf(value, sharings, 'sharing value')
  },
  required: (draft, value, key) => {
    onlyFor(draft, key, ['secret', 'ssh'])
    draft.required = truth(key, value)
  },
  size: setSize,
  mode: (draft, value, key) => {
    draft.mode = numberOf(key, value, 8)
  },
  uid: (draft, value, key) => {
    draft.uid = numberOf(key, value, 10)
  },
  gid: (draft, value, key) => {
    draft.gid = numberOf(key, value, 10)
  },
  src: setSource,
  dst: setTarget,
  destination: setTarget,
  ro: setReadOnly,
  rw: setReadWrite,
  readwrite: setReadWrite,
  env: (draft, value) => {
    draft.env = value
  },
}

/** Keys that mean `true` by themselves. */
const switches = ['readonly', 'ro', 'readwrite', 'rw', 'required']

const setField = (draft: Draft, field: string, expand: (value: string) => string): void => {
  const { key, value } = readField(field)
  if (value === undefined && !switches.includes(key))
    throw new DockerfileError(`invalid field '${field}' must be a key=value pair`)
  const text = value === undefined ? 'true' : expand(value)
  const set = Object.hasOwn(keys, key) ? keys[key] : undefined
  if (!set)
    throw new DockerfileError(withSuggestion(`unexpected key '${key}' in '${field}'`, key, Object.keys(keys)))
  set(draft, text, key)
}

const checkSecret = ({ from, sharing, source, target, id }: Draft): void => {
  if (from) throw new DockerfileError('secret mount should not have a from')
  if (sharing) throw new DockerfileError('secret mount should not define sharing')
  if (!source && !target && !id)
    throw new DockerfileError('invalid secret mount. one of source, target required')
  if (source && id) throw new DockerfileError("both source and id can't be set")
}

const check = (draft: Draft): void => {
  const { type } = draft
  if (type === 'bind' || type === 'tmpfs')
    for (const key of ['mode', 'uid', 'gid'] as const)
      if (draft[key] !== undefined)
        throw new DockerfileError(`${key} not allowed for ${quote(type)} type mounts`)
  if (type === 'secret') checkSecret(draft)
  if (draft.sharing && type !== 'cache')
    throw new DockerfileError(`invalid cache sharing set for ${type} mount`)
}

/** The mount with its variables replaced by `expand`. Errors: keys and values that the type does not have. */
export const readMount = ({ text }: MountText, expand: (value: string) => string): RunMount => {
  const draft: Draft = { type: 'bind', required: false }
  for (const field of fieldsOf(text.value, 'mounts')) setField(draft, field, expand)
  check(draft)
  return { ...draft, readOnly: draft.readOnly ?? (draft.type !== 'cache' && draft.type !== 'tmpfs') }
}
