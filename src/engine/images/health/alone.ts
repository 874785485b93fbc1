import type { Engine } from '../../engine.ts'
import type { Operation } from '../../operations.ts'

/** Waits until no pull or load is bringing something in, and keeps them waiting. */
export const withoutIncoming = (engine: Engine, operation: Operation): Promise<Disposable> => {
  operation.at('waiting for pulls and loads under way')
  return engine.images.incoming.own(operation.signal)
}
