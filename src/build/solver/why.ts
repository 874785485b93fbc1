import { changesOf, type FileChange } from './files.ts'
import type { CacheRecord, InputParts, KeyParts, Loss } from './types.ts'

/** Why a step ran: what is not as it was when the most similar step of an earlier build was made. */
export type Cause =
  /** `--no-cache`, `--no-cache-filter` */
  | { kind: 'ignored' }
  /** Nothing like it was made before. */
  | { kind: 'first' }
  /** Its very result was there once. */
  | { kind: Loss }
  | { kind: 'instruction'; before: string; after: string }
  /** A build argument, or a variable of the image or the file. */
  | { kind: 'argument' | 'variable'; name: string; before?: string; after?: string }
  | { kind: 'platform'; before?: string; after?: string }
  | { kind: 'mount'; target: string; before?: string; after?: string }
  /** Of the operation, by its name: `directory`, `user`, `network`. */
  | { kind: 'setting'; name: string; before?: string; after?: string }
  /** The step that it stands on gave something else. */
  | { kind: 'parent'; role: string; from: string }
  /** A file of what it sees. `from`: the step that gave it; digests are shortened. */
  | ({ kind: 'file'; role: string; from: string } & FileChange)
  /** What it sees is not the same, and files are not told. */
  | { kind: 'content'; role: string; from: string }

/** A step that is about to run. */
export interface Running {
  made: KeyParts
  ignoreCache: boolean
  /** What has become of the record under its key. */
  loss: Loss | undefined
}

/** Files beyond these are not told. */
const mostFiles = 100

const verbOf = ({ described }: KeyParts): string => described.slice(0, described.indexOf(' ') + 1)

const placeOf = ({ name }: KeyParts): string => (/^\[.*?\]/.exec(name) ?? [''])[0]

const sameInputs = (a: KeyParts, b: KeyParts): number =>
  a.inputs.filter((input, index) => {
    const other = b.inputs[index]
    return other !== undefined && isSame(input, other)
  }).length

const isSame = (a: InputParts, b: InputParts): boolean =>
  a.content === undefined || b.content === undefined ? a.key === b.key : a.content === b.content

/** What it does tells more than where it stands, and that more than what it takes. 0: nothing in common. */
const likeness = (a: KeyParts, b: KeyParts): number =>
  (a.operation === b.operation ? 8 : 0) +
  (a.described === b.described ? 4 : 0) +
  (placeOf(a) !== '' && placeOf(a) === placeOf(b) ? 2 : 0) +
  sameInputs(a, b) / (a.inputs.length + 1)

/** The most similar step of the same instruction, the newest of several. */
const nearest = (made: KeyParts, records: Iterable<CacheRecord>): KeyParts | undefined => {
  let best: { parts: KeyParts; score: number; createdAt: number } | undefined
  for (const { made: parts, createdAt } of records) {
    if (!parts || verbOf(parts) !== verbOf(made)) continue
    const score = likeness(made, parts)
    if (
      score === 0 ||
      (best && (score < best.score || (score === best.score && createdAt <= best.createdAt)))
    )
      continue
    best = { parts, score, createdAt }
  }
  return best?.parts
}

const beforeAndAfter = (
  before: string | undefined,
  after: string | undefined,
): { before?: string; after?: string } => ({
  ...(before === undefined ? {} : { before }),
  ...(after === undefined ? {} : { after }),
})

/** `RUN |1 NAME=value make`: arguments are told of before the command. */
const isArgument = ({ described, settings }: KeyParts, name: string): boolean =>
  /^RUN \|\d+ /.test(described) && described.includes(` ${name}=${settings[`variable ${name}`]} `)

const settingCause = (name: string, old: KeyParts, made: KeyParts): Cause => {
  const [before, after] = [old.settings[name], made.settings[name]]
  const values = beforeAndAfter(before, after)
  const [word = '', ...rest] = name.split(' ')
  if (name === 'platform') return { kind: 'platform', ...values }
  if (name === 'command') return { kind: 'instruction', before: before ?? '', after: after ?? '' }
  if (word === 'variable') {
    const variable = rest.join(' ')
    const kind = [old, made].some(parts => isArgument(parts, variable)) ? 'argument' : 'variable'
    return { kind, name: variable, ...values }
  }
  if (word === 'mount') return { kind: 'mount', target: rest.join(' '), ...values }
  return { kind: 'setting', name, ...values }
}

const settingCauses = (before: KeyParts, after: KeyParts): Cause[] => {
  const names = new Set([...Object.keys(after.settings), ...Object.keys(before.settings)])
  return [...names]
    .filter(name => before.settings[name] !== after.settings[name])
    .map(name => settingCause(name, before, after))
}

const operationCauses = (before: KeyParts, after: KeyParts): Cause[] => {
  if (before.operation === after.operation) return []
  const causes = settingCauses(before, after)
  // Of those that have settings, the text repeats them.
  return causes.length > 0
    ? causes
    : [{ kind: 'instruction', before: before.described, after: after.described }]
}

const inputCauses = (before: InputParts | undefined, after: InputParts): Cause[] => {
  if (before && isSame(before, after)) return []
  const { role, from } = after
  if (after.content === undefined) return [{ kind: 'parent', role, from }]
  const changes = before?.files && after.files ? changesOf(before.files, after.files) : []
  if (changes.length === 0) return [{ kind: 'content', role, from }]
  return changes.slice(0, mostFiles).map(change => ({ kind: 'file', role, from, ...change }))
}

/** Why a step runs, compared with the records that there are before it has. Never empty. */
export const whyRun = ({ made, ignoreCache, loss }: Running, records: Iterable<CacheRecord>): Cause[] => {
  if (ignoreCache) return [{ kind: 'ignored' }]
  if (loss) return [{ kind: loss }]
  const before = nearest(made, records)
  if (!before) return [{ kind: 'first' }]
  const causes = [
    ...operationCauses(before, made),
    ...made.inputs.flatMap((input, index) => inputCauses(before.inputs[index], input)),
  ]
  return causes.length > 0 ? causes : [{ kind: 'first' }]
}
