import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import type { RawClient } from './rawClient.ts'
import { settleExit } from './state.ts'
import type { WaitCondition, Waiter } from './waiters.ts'

/**
 * Waits for a container. Returns the exit code where the condition holds
 * already; otherwise calls `accept`, which sends the response's head and takes
 * the connection over, and the answer comes from the monitor or from here.
 */
export const waitContainer = async (
  engine: Engine,
  container: Container,
  condition: WaitCondition,
  accept: () => Promise<RawClient>,
): Promise<number | undefined> => {
  await settleExit(engine, container)
  if (condition === 'not-running' && !container.isRunning && container.record.state.status !== 'restarting')
    return container.record.state.exitCode
  const waiter: Waiter = { condition, client: await accept() }
  if (container.monitor && container.isAlive) await giveWaiter(container, waiter)
  else keepWaiter(container, waiter)
  return undefined
}

const keepWaiter = (container: Container, waiter: Waiter): void => {
  container.waiters.push(waiter)
  waiter.client.onGone(() => {
    container.waiters = container.waiters.filter(entry => entry !== waiter)
  })
}

const giveWaiter = async (container: Container, waiter: Waiter): Promise<void> => {
  await container.monitor?.wait(waiter.client.fd, waiter.condition === 'removed' ? 'removed' : 'exit')
  waiter.client.release()
}

/** Gives all who wait to the monitor of a run that begins. */
export const handOverWaiters = async (engine: Engine, container: Container): Promise<void> => {
  for (const waiter of container.waiters.splice(0)) {
    try {
      await giveWaiter(container, waiter)
    } catch (error) {
      engine.log.warn('a waiting client could not be handed over', {
        container: container.id,
        error: messageOf(error),
      })
      waiter.client.end()
    }
  }
}
