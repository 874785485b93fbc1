import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { mountOverlay, type OverlayPath } from '../linux/overlay.ts'
import { removeTree } from '../linux/removeTree.ts'
import { mapDirectories } from './mappedLayers.ts'
import type { MappedOwners } from './mappedOwners.ts'
import { shortPaths } from './shortLinks.ts'
import { applyRoot, type MountRequest, type Snapshotter, UPPER, type UpperHome } from './snapshotter.ts'

const WORK = 'work'

/**
 * After a volatile mount the kernel leaves a mark that refuses the next one,
 * since a crash may have lost data. Whoever asked for `volatile` has agreed.
 */
const clearVolatile = (home: string): void => removeTree(join(home, WORK, 'work', 'incompat'))

/** Overlayfs over `<root>/layers`; `path` says by which calls. */
export class OverlaySnapshotter implements Snapshotter {
  readonly kind = 'upper'
  readonly #root: string
  readonly #path: OverlayPath
  readonly #mapped: string

  /** `mapped`: a folder of its own for mounts that pass. */
  constructor(root: string, { path, mapped }: { path: OverlayPath; mapped: string }) {
    this.#root = root
    this.#path = path
    this.#mapped = mapped
  }

  async prepare({ home, layers }: UpperHome): Promise<void> {
    mkdirSync(join(home, UPPER))
    mkdirSync(join(home, WORK))
    applyRoot(join(home, UPPER), layers)
  }

  mount(request: MountRequest): void {
    clearVolatile(request.home)
    if (request.owners) this.#mountMapped(request, request.owners)
    else if (this.#path === 'api') this.#mountByApi(request)
    else this.#mountClassic(request)
  }

  #mountByApi(request: MountRequest): void {
    this.#mountWith(request, { lowers: this.#lowers(request), home: request.home })
  }

  /** The top one first. */
  #lowers({ init, layers }: MountRequest): string[] {
    const own = [...(init ? [init] : []), ...layers.map(layer => layer.path).reverse()]
    return own.length > 0 ? own : [this.#empty()]
  }

  /** Owners are mapped below the overlay: its own mount cannot be mapped, and what is written lies on disk as the image's files do. */
  #mountMapped(request: MountRequest, { layers, written }: MappedOwners): void {
    using places = mapDirectories(this.#mapped, [
      { path: request.home, namespace: written },
      ...this.#lowers(request).map(path => ({ path, namespace: layers })),
    ])
    const [home = '', ...lowers] = places.paths
    this.#mountWith(request, { lowers, home })
  }

  #mountClassic(request: MountRequest): void {
    using short = shortPaths(this.#root, request.layers.toReversed())
    using home = owned(openAt(AT_FDCWD, request.home, O_RDONLY | O_DIRECTORY | O_PATH))
    using init = request.init
      ? owned(openAt(AT_FDCWD, request.init, O_RDONLY | O_DIRECTORY | O_PATH))
      : undefined
    const own = [...(init ? [`/proc/self/fd/${init.fd}`] : []), ...short.lowers]
    const lowers = own.length > 0 ? own : [this.#empty()]
    this.#mountWith(request, { lowers, home: `/proc/self/fd/${home.fd}` })
  }

  #mountWith(request: MountRequest, at: { lowers: string[]; home: string }): void {
    mountOverlay(
      {
        lowers: at.lowers,
        upper: join(at.home, UPPER),
        work: join(at.home, WORK),
        target: request.target,
        volatile: request.volatile,
        ...(request.label === undefined ? {} : { label: request.label }),
      },
      this.#path,
    )
  }

  /** Overlayfs wants a lower layer even where there is none. */
  #empty(): string {
    const path = join(this.#root, 'empty')
    mkdirSync(path, { recursive: true, mode: 0o755 })
    return path
  }
}
