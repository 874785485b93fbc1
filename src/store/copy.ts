import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { WorkerPool } from '../archive/pool.ts'
import { MS_BIND, MS_PRIVATE, mount } from '../linux/mount.ts'
import { stackLayer } from './layerRecord.ts'
import { mountMapped } from './mappedLayers.ts'
import { applyRoot, type MountRequest, type Snapshotter, UPPER, type UpperHome } from './snapshotter.ts'

/** A whole copy of the layers for each container, where overlayfs cannot be used; extents shared where possible. */
export class CopySnapshotter implements Snapshotter {
  readonly kind = 'full'
  readonly #pool: WorkerPool

  constructor(pool: WorkerPool) {
    this.#pool = pool
  }

  async prepare({ home, layers, init }: UpperHome): Promise<void> {
    const directory = join(home, UPPER)
    mkdirSync(directory)
    const stack = [...layers.map(stackLayer), ...(init ? [{ path: init }] : [])]
    await this.#pool.run('composeStack', { directory, layers: stack })
    applyRoot(directory, layers)
  }

  mount({ home, target, owners }: MountRequest): void {
    if (owners) mountMapped({ path: join(home, UPPER), namespace: owners.written }, target)
    else mount({ source: join(home, UPPER), target, flags: MS_BIND })
    mount({ source: 'none', target, flags: MS_PRIVATE })
  }
}
