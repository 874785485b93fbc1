import path from 'node:path'
import { messageOf } from '../../core/errors.ts'
import { killGroup, removeGroup } from '../../linux/cgroups.ts'
import { removeTree } from '../../linux/removeTree.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerGroup } from './groups.ts'
import { tellLinking } from './openLinks.ts'
import { releaseVolumes } from './runVolumes.ts'
import { unmountSharedShm } from './sharedMemory.ts'
import type { ContainerRecord } from './types.ts'

type Step = [name: string, run: () => void | Promise<void>]

/** Each step is tried, whatever became of the others. */
const tryAll = async (engine: Engine, { id }: { id: string }, steps: readonly Step[]): Promise<void> => {
  for (const [name, step] of steps) {
    try {
      await step()
    } catch (error) {
      engine.log.error(`clearing a run: ${name}`, { container: id, error: messageOf(error) })
    }
  }
}

const runtimeState = (engine: Engine, { id, hostConfig }: ContainerRecord): void => {
  const runtime = engine.settings.runtimes.get(hostConfig.Runtime ?? '')
  if (runtime) removeTree(path.join(runtime.root, id))
}

/** What a runtime made, or left half-made: processes, its state, the control group. Idempotent. */
export const clearProcesses = async (engine: Engine, record: ContainerRecord): Promise<void> => {
  const { group } = containerGroup(engine.settings, record)
  await tryAll(engine, record, [
    ['processes', () => killGroup(group)],
    ['runtime state', () => runtimeState(engine, record)],
    ['control group', () => void removeGroup(group)],
  ])
}

/** Takes down what a container has in the network, and what others reach of it by links. Idempotent. */
export const disconnect = async (engine: Engine, container: Container): Promise<void> => {
  await engine.metrics.timeNetwork('release', engine.connections.disconnectAll(container.record))
  tellLinking(engine, container)
}

/** Kernel objects of a run: processes, the runtime's state, network, mounts. Idempotent. */
export const clearRun = async (engine: Engine, container: Container): Promise<void> => {
  const { group } = containerGroup(engine.settings, container.record)
  await tryAll(engine, container, [
    ['processes', () => killGroup(group)],
    ['network', () => disconnect(engine, container)],
    ['runtime state', () => runtimeState(engine, container.record)],
    ['shared memory', () => unmountSharedShm(engine, container.id)],
    ['root', () => engine.uppers.unmount(container.id)],
    ['volumes', () => releaseVolumes(engine, container)],
    ['control group', () => void removeGroup(group)],
  ])
}
