import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import type { Container } from './container.ts'
import { removeAfterExit } from './remove.ts'
import { startInQueue } from './start.ts'
import { settleExit } from './state.ts'

/** `POST /containers/{id}/start`. Returns false where it runs already. A `--rm` container that cannot start is removed. */
export const startContainer = async (
  engine: Engine,
  container: Container,
  operation: Operation,
): Promise<boolean> => {
  await settleExit(engine, container)
  operation.at('waiting for what is under way with the container')
  return container.queue.run(async () => {
    try {
      return await startInQueue(engine, container, operation)
    } catch (error) {
      const { state, hostConfig } = container.record
      if (hostConfig.AutoRemove && state.error !== '' && !container.isRunning)
        await removeAfterExit(engine, container)
      throw error
    }
  }, operation.signal)
}
