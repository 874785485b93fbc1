import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { mountOverlay, type OverlayPath } from '../linux/overlay.ts'
import { shortPaths } from './shortLinks.ts'
import { applyRoot, type MountRequest, type Snapshotter, UPPER, type UpperHome } from './snapshotter.ts'

const WORK = 'work'

/**
 * After a volatile mount the kernel leaves a mark that refuses the next one,
 * since a crash may have lost data. Whoever asked for `volatile` has agreed.
 */
const clearVolatile = (home: string): void =>
  rmSync(join(home, WORK, 'work', 'incompat'), { recursive: true, force: true })

/** Overlayfs over `<root>/layers`; `path` says by which calls. */
export class OverlaySnapshotter implements Snapshotter {
  readonly kind = 'upper'
  readonly #root: string
  readonly #path: OverlayPath

  constructor(root: string, path: OverlayPath) {
    this.#root = root
    this.#path = path
  }

  async prepare({ home, layers }: UpperHome): Promise<void> {
    mkdirSync(join(home, UPPER))
    mkdirSync(join(home, WORK))
    applyRoot(join(home, UPPER), layers)
  }

  mount(request: MountRequest): void {
    clearVolatile(request.home)
    if (this.#path === 'api') this.#mountByApi(request)
    else this.#mountClassic(request)
  }

  #mountByApi(request: MountRequest): void {
    const lowers = [
      ...(request.init ? [request.init] : []),
      ...request.layers.map(layer => layer.path).reverse(),
    ]
    this.#mountWith(request, { lowers: lowers.length > 0 ? lowers : [this.#empty()], home: request.home })
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
