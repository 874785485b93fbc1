import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { checkpointOf } from './checkpoints.ts'
import type { Container } from './container.ts'
import { removeAfterExit } from './remove.ts'
import { startInQueue } from './start.ts'
import { settleExit } from './state.ts'

/** `POST /containers/{id}/start`. Returns false where it runs already. A `--rm` container that cannot start is removed; one that cannot go on from its checkpoint stays. */
export const startContainer = async (
  engine: Engine,
  container: Container,
  operation: Operation,
  checkpoint = '',
): Promise<boolean> => {
  await settleExit(engine, container)
  operation.at('waiting for what is under way with the container')
  return container.queue.run(async () => {
    try {
      if (checkpoint === '' || container.isRunning) return await startInQueue(engine, container, operation)
      return await startInQueue(engine, container, operation, checkpointOf(engine, container, checkpoint))
    } catch (error) {
      const { state, hostConfig } = container.record
      if (hostConfig.AutoRemove && state.error !== '' && !container.isRunning && checkpoint === '')
        await removeAfterExit(engine, container)
      throw error
    }
  }, operation.signal)
}
