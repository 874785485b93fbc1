import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { notRunning } from './notRunning.ts'

/** `POST /containers/{id}/resize`. Errors: 409 where it does not run. */
export const resizeContainer = async (
  engine: Engine,
  container: Container,
  size: { columns: number; rows: number },
): Promise<void> => {
  if (!container.monitor || !container.isRunning) throw notRunning(container)
  await container.monitor.resize(size.columns, size.rows)
  containerEvent(engine, container, 'resize', { height: String(size.rows), width: String(size.columns) })
}
