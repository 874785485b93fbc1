import type { ExecOperation, FileAction, FileOperation, Operation, Vertex } from '../graph/types.ts'
import type { Selection } from './types.ts'

/**
 * How an input counts in the keys of a step. `key`: all of it may matter, or is part of the result:
 * what it was made of tells. `content`: only these parts matter, and nothing else of it gets into the
 * result, so that equal bytes are enough.
 */
export type Seen = { by: 'key' } | { by: 'content'; selections: Selection[] }

/** All of an input, as a folder of a client counts where something is made upon it. */
export const everything: Selection = {
  path: '/',
  wildcards: false,
  followLinks: false,
  include: [],
  exclude: [],
  ignoreOwner: false,
  ignoreMode: false,
}

/** Gathers what is seen of each input; one that counts by key once does so altogether. */
class Sights {
  readonly #seen: (Seen | undefined)[]

  constructor(count: number) {
    this.#seen = new Array<Seen | undefined>(count).fill(undefined)
  }

  byKey(input: number | undefined): void {
    if (input !== undefined) this.#seen[input] = { by: 'key' }
  }

  byContent(input: number | undefined, selection: Selection): void {
    if (input === undefined) return
    const seen = this.#seen[input]
    if (seen?.by === 'key') return
    this.#seen[input] = { by: 'content', selections: [...(seen?.selections ?? []), selection] }
  }

  /** What nothing is said of counts by key. */
  list(): Seen[] {
    return this.#seen.map(seen => seen ?? { by: 'key' })
  }
}

const withoutTwins = (selections: Selection[]): Selection[] => {
  const known = new Map(selections.map(selection => [JSON.stringify(selection), selection]))
  return [...known.values()]
}

/**
 * A root counts by its key: its content would take long to read and seldom be equal. A folder whose
 * result is kept counts by content only where all of it is mounted, since what is not seen is in the result, too.
 */
const seenByExec = ({ mounts }: ExecOperation, sights: Sights): void => {
  for (const mount of mounts) {
    if (mount.kind !== 'bind' && mount.kind !== 'cache') continue
    const isKept = mount.kind === 'bind' && mount.output !== undefined && mount.source !== '/'
    if (mount.target === '/' || isKept) sights.byKey(mount.input)
    else sights.byContent(mount.input, { ...everything, path: mount.source, followLinks: true })
  }
}

const isOctal = (mode: string | undefined): boolean => mode !== undefined && /^[0-7]+$/.test(mode)

const hasWildcards = (text: string): boolean => /[*?[]/.test(text.replace(/\\./gs, ''))

const copied = (action: Extract<FileAction, { kind: 'copy' }>): Selection => ({
  path: action.source,
  wildcards: action.wildcards && hasWildcards(action.source),
  followLinks: action.followLinks,
  include: action.include,
  exclude: action.exclude,
  // A user alone sets the group, too.
  ignoreOwner: action.owner?.user !== undefined,
  // Modes in letters build on those that are there.
  ignoreMode: isOctal(action.mode),
})

const isName = (owner: string | undefined): boolean => owner !== undefined && !/^\d+$/.test(owner)

const seenByAction = (action: FileAction, base: number | undefined, sights: Sights): void => {
  if (action.kind === 'copy') sights.byContent(action.from, copied(action))
  if (action.kind === 'remove' || !action.owner) return
  const { user, group, names } = action.owner
  const input = names === 'base' ? base : names
  const file = (path: string): Selection => ({ ...everything, path, followLinks: true })
  if (isName(user)) sights.byContent(input, file('/etc/passwd'))
  if (isName(group)) sights.byContent(input, file('/etc/group'))
}

const seenByFile = ({ base, actions }: FileOperation, sights: Sights): void => {
  sights.byKey(base)
  for (const action of actions) seenByAction(action, base, sights)
}

/** For each input of a vertex, in their order. */
export const seenBy = ({ operation, inputs }: Pick<Vertex, 'operation' | 'inputs'>): Seen[] => {
  const sights = new Sights(inputs.length)
  if (operation.kind === 'exec') seenByExec(operation, sights)
  if (operation.kind === 'file') seenByFile(operation, sights)
  return sights
    .list()
    .map(seen => (seen.by === 'key' ? seen : { by: 'content', selections: withoutTwins(seen.selections) }))
}

/** Whether layers of an input are layers of a result. */
export const standsOn = (operation: Operation, input: number): boolean => {
  if (operation.kind === 'file') return operation.base === input
  if (operation.kind !== 'exec') return operation.kind === 'merge'
  return operation.mounts.some(
    mount => mount.kind === 'bind' && mount.input === input && mount.output !== undefined,
  )
}

/** What an input is to a step, for users. */
export const roleOf = (operation: Operation, input: number): string => {
  if (operation.kind === 'merge') return input === 0 ? 'files below' : 'files linked'
  if (operation.kind === 'file') return input === operation.base ? 'files below' : 'files copied'
  if (operation.kind !== 'exec') return 'source'
  const mount = operation.mounts.find(one => 'input' in one && one.input === input)
  if (!mount) return 'source'
  return mount.target === '/' ? 'files below' : `${mount.kind} ${mount.target}`
}
