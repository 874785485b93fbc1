import { digestOf } from '../../oci/digest.ts'
import { canonical } from '../graph/digest.ts'
import type { ExecMount, ExecOperation, FileAction, Operation, Vertex } from '../graph/types.ts'
import type { Seen } from './seenBy.ts'
import type { KeyDigest } from './types.ts'

/**
 * Keys of results. What is in an operation and in no key, as in BuildKit (solver/llbsolver/ops, CacheMap):
 *
 * - how a step is shown, and where it stands in its file;
 * - proxies;
 * - the addresses of extra hosts (their names are, in their order);
 * - the content, the id and the sharing of cache mounts;
 * - the values of secrets and what an agent of ssh holds (their ids and where they are mounted are);
 * - the platform, but of what runs. A source tells its own in its identity.
 *
 * In a key by content neither are the places of what is seen by content: of a copy the last part of its
 * source's path stays, since it names what comes of it.
 */

/** Changes all keys: raised where their making changes, so that older records are not found. */
const version = 1

const isByContent = (seen: readonly Seen[], input: number | undefined): boolean =>
  input !== undefined && seen[input]?.by === 'content'

const lastPart = (path: string): string => path.slice(path.replace(/\/+$/, '').lastIndexOf('/') + 1)

const mountEssence = (mount: ExecMount, placeless: readonly Seen[]): unknown => {
  const place = 'source' in mount && isByContent(placeless, mount.input) ? { source: undefined } : {}
  return mount.kind === 'cache'
    ? { ...mount, ...place, id: undefined, sharing: undefined }
    : { ...mount, ...place }
}

const execEssence = (operation: ExecOperation, placeless: readonly Seen[]): unknown => ({
  ...operation,
  proxy: undefined,
  extraHosts: operation.extraHosts.map(({ host }) => host),
  mounts: operation.mounts.map(mount => mountEssence(mount, placeless)),
})

const actionEssence = (action: FileAction, placeless: readonly Seen[]): unknown =>
  action.kind === 'copy' && isByContent(placeless, action.from)
    ? { ...action, source: lastPart(action.source) }
    : action

/** `placeless`: the inputs whose places are no part of it; none for all places. */
const essence = (operation: Operation, placeless: readonly Seen[]): unknown => {
  if (operation.kind === 'exec') return execEssence(operation, placeless)
  if (operation.kind === 'file')
    return { ...operation, actions: operation.actions.map(action => actionEssence(action, placeless)) }
  return operation
}

type Doing = Pick<Vertex, 'operation' | 'platform'>

const essentials = ({ operation, platform }: Doing, placeless: readonly Seen[]): unknown => ({
  version,
  operation: essence(operation, placeless),
  platform: operation.kind === 'exec' ? platform : undefined,
})

/** Of the operation alone. */
export const operationKey = (doing: Doing): KeyDigest => digestOf(canonical(essentials(doing, [])))

/** By the operation and the chain keys of its inputs. */
export const fastKey = (doing: Doing, chains: readonly KeyDigest[]): KeyDigest =>
  digestOf(canonical({ fast: essentials(doing, []), inputs: chains }))

/** By the operation and, of what it sees by content, the digests. */
export const contentKey = (
  doing: Doing,
  seen: readonly Seen[],
  inputs: readonly ({ chain: KeyDigest } | { content: KeyDigest })[],
): KeyDigest => digestOf(canonical({ content: essentials(doing, seen), inputs }))

/** Of one of several results. */
export const resultKey = (key: KeyDigest, index: number): KeyDigest =>
  index === 0 ? key : digestOf(`${key} ${index}`)

/** What several selections of one input come to. */
export const joinedDigest = (digests: readonly KeyDigest[]): KeyDigest => {
  const [first, ...more] = digests
  return first && more.length === 0 ? first : digestOf(digests.join(' '))
}

/** What a folder of a client counts by where something is made upon it. */
export const localChain = (content: KeyDigest): KeyDigest => digestOf(`local ${content}`)

/** What a result counts by that was made anew: nothing that was made of an older one is found by it. */
export const anewChain = (key: KeyDigest, id: string): KeyDigest => digestOf(`${key} anew ${id}`)
