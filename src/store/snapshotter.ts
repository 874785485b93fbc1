import type { TreeKind } from '../archive/changes.ts'
import { AT_FDCWD, chmodFd, chownFd, O_DIRECTORY, O_RDONLY, openAt, owned } from '../linux/files.ts'
import type { MappedOwners } from './mappedOwners.ts'
import type { Layer } from './types.ts'

/** How one writable directory is made from layers and brought to its mount point. */
export interface UpperHome {
  /** `<root>/uppers/<id>` (while it is made, a temporary name). */
  home: string
  /** Bottom first, each once. */
  layers: readonly Layer[]
  /** Directory of the init layer, which lies over the others; undefined where there is none. */
  init: string | undefined
}

export interface MountRequest extends UpperHome {
  target: string
  volatile: boolean
  label: string | undefined
  /** Undefined where owners are seen as they are on disk. */
  owners: MappedOwners | undefined
}

/** The two ways of UpperStore: an overlay mount, or a copy. */
export interface Snapshotter {
  /** What the writable directory holds. */
  readonly kind: TreeKind
  /** Makes what is needed inside an empty home. */
  prepare(upper: UpperHome): Promise<void>
  /** Mounts at an existing, unmounted target. Synchronous and quick. */
  mount(request: MountRequest): void
}

/** The writable directory, whatever made it. */
export const UPPER = 'diff'

/** What the topmost layer that tells it says of the root directory. */
export const rootOfStack = (layers: readonly Layer[]): { mode: number; uid: number; gid: number } =>
  layers.findLast(layer => layer.root)?.root ?? { mode: 0o755, uid: 0, gid: 0 }

/** The root directory of a container is its upper's: it gets that of the layers. */
export const applyRoot = (directory: string, layers: UpperHome['layers']): void => {
  const { mode, uid, gid } = rootOfStack(layers)
  using handle = owned(openAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY))
  chownFd(handle.fd, uid, gid)
  chmodFd(handle.fd, mode)
}
