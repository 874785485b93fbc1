import { packTree } from '../../archive/trees.ts'
import { conflict } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { descriptorPath, withLayerView } from './rootView.ts'

/** Errors: `conflict` in Docker's words; `verb` is `export`, `commit`. */
export const refuseGone = (container: Container, verb: string): void => {
  if (container.record.state.status === 'dead')
    throw conflict(`You cannot ${verb} container ${container.id} which is Dead`)
  if (container.removing)
    throw conflict(`You cannot ${verb} container ${container.id} which is being removed`)
}

/**
 * `GET /containers/{id}/export`: gives `send` the container's own files as an
 * archive, without what is mounted on them.
 */
export const exportContainer = async (
  engine: Engine,
  container: Container,
  options: { operation: Operation; send: (archive: AsyncIterable<Buffer>) => Promise<void> },
): Promise<void> => {
  refuseGone(container, 'export')
  const { operation } = options
  const { signal } = operation
  operation.at('sending its files')
  await withLayerView(engine, container, {
    mounts: false,
    operation,
    use: view => {
      // As Docker, before it is sent: a client that has all it wants may be gone before the end.
      containerEvent(engine, container, 'export')
      return options.send(
        packTree(engine.pool, { root: descriptorPath(view.fd), path: '', as: '', maps: view.maps, signal }),
      )
    },
  })
}
