import { rm } from 'node:fs/promises'
import path from 'node:path'
import { messageOf } from '../../core/errors.ts'
import { killGroup, removeGroup } from '../../linux/cgroups.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerGroup } from './groups.ts'
import { unmountSharedShm } from './sharedMemory.ts'

/** Kernel objects of a run: processes, the runtime's state, mounts, network. Idempotent; each step is tried. */
export const clearRun = async (engine: Engine, container: Container): Promise<void> => {
  const { group } = containerGroup(engine.settings, container.record)
  const runtime = engine.settings.runtimes.get(container.record.hostConfig.Runtime ?? '')
  const steps: [string, () => void | Promise<void>][] = [
    ['processes', () => killGroup(group)],
    ['network', () => engine.networks.disconnectAll(container.record)],
    [
      'runtime state',
      () => runtime && rm(path.join(runtime.root, container.id), { recursive: true, force: true }),
    ],
    ['shared memory', () => unmountSharedShm(engine, container.record)],
    ['root', () => engine.uppers.unmount(container.id)],
    ['control group', () => void removeGroup(group)],
  ]
  for (const [name, step] of steps) {
    try {
      await step()
    } catch (error) {
      engine.log.error(`clearing a run: ${name}`, { container: container.id, error: messageOf(error) })
    }
  }
}
