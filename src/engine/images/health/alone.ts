import { abandonable } from '../../../core/abort.ts'
import type { Engine } from '../../engine.ts'
import type { Operation } from '../../operations.ts'

/** Waits until no pull or load is bringing something in, and keeps them waiting; a cancelled operation leaves the row. */
export const withoutIncoming = async (engine: Engine, operation: Operation): Promise<Disposable> => {
  operation.at('waiting for pulls and loads under way')
  const owning = engine.images.incoming.own()
  try {
    return await abandonable(operation.signal, owning)
  } catch (error) {
    // Its turn comes all the same.
    void owning.then(owned => owned[Symbol.dispose]())
    throw error
  }
}
