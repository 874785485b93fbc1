import type { Engine } from '../../engine/engine.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Cache } from '../solver/cache.ts'
import type { Tree } from '../solver/types.ts'
import { presentLayers } from '../steps/image/layers.ts'

/**
 * Records that came of imported caches, while their layers may not be here: those whose layers nobody wanted go with
 * the build that found them, so that no later one counts on a registry that may have lost them.
 */

const diffIdsOf = (tree: Tree): Digest[] =>
  tree.layers.flatMap(layer => (layer.kind === 'image' ? [layer.diffId] : []))

/** At a start: whether a record of an imported cache has all that it needs. */
export const isAtHand = async (engine: Engine, tree: Tree): Promise<boolean> => {
  if (!tree.layers.some(layer => layer.kind === 'image' && layer.origin)) return true
  for (const { ref, layer } of presentLayers(engine, tree))
    if (!layer && !(await engine.content.info(ref.blob))) return false
  return true
}

export class Adopted {
  readonly #ids = new Set<string>()
  readonly #parts: { engine: Engine; cache: Cache }

  constructor(parts: { engine: Engine; cache: Cache }) {
    this.#parts = parts
  }

  note(ids: readonly string[]): void {
    for (const id of ids) this.#ids.add(id)
  }

  /** When a build has ended. */
  async sweep(): Promise<void> {
    const { engine, cache } = this.#parts
    const missing: string[] = []
    for (const id of this.#ids) {
      const record = cache.get(id)
      if (record && !(await engine.layers.find(diffIdsOf(record.tree)))) missing.push(id)
      else this.#ids.delete(id)
    }
    if (missing.length === 0) return
    // They are of images' layers alone: no snapshot is left.
    await cache.remove(missing, 'pruned')
    for (const id of missing) if (!cache.get(id)) this.#ids.delete(id)
  }
}
