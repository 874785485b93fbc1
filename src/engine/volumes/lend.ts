import { lent } from '../../core/disposal.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { mountedOnes, mountHeld, unmountUnused } from './mounting.ts'

/** Has volumes mounted for work of the daemon's own on a container that does not run, until the result is disposed of. */
export const lendVolumes = async (
  engine: Engine,
  names: readonly string[],
  operation: Operation,
): Promise<AsyncDisposable> => {
  const records = mountedOnes(engine, names)
  const loans = records.map(({ name }) => engine.volumes.lend(name))
  const take = async (): Promise<void> => {
    for (const record of records)
      await engine.volumes.exclusively(
        [record.name],
        () => mountHeld(engine, record, operation),
        operation.signal,
      )
  }
  return await lent(take, async () => {
    for (const loan of loans) loan[Symbol.dispose]()
    for (const { name } of records) await unmountUnused(engine, name)
  })
}
