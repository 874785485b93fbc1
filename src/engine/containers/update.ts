import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { conflict, internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { stringify } from '../../core/json.ts'
import { cgroupSupport } from '../../linux/cgroupSupport.ts'
import type { HostConfig, UpdateRequest } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { blockIo } from './blockIo.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { specLimits } from './specResources.ts'
import { runDirectory } from './state.ts'
import { checkRestartPolicy } from './validate.ts'
import { checkResources } from './validateResources.ts'

/** PID_MAX_LIMIT of 64-bit kernels: no host has more processes. */
const mostPids = 4_194_304

const applyToRuntime = async (
  engine: Engine,
  container: Container,
  hostConfig: HostConfig,
): Promise<void> => {
  const runtime = engine.settings.runtimes.get(hostConfig.Runtime ?? '')
  if (!runtime) return
  // By a file: crun opens what it is given, and cannot open a pipe of Node's.
  const file = path.join(runDirectory(engine, container), 'update.json')
  const io = blockIo(hostConfig)
  const limits = specLimits(hostConfig)
  // A group that runs may have had a limit before.
  if ((hostConfig.MemorySwap ?? 0) < 0 && cgroupSupport().swap) limits.memory = { ...limits.memory, swap: -1 }
  // crun 1.8 writes a negative number as it is, which the kernel refuses.
  if (limits.pids && limits.pids.limit < 0) limits.pids.limit = mostPids
  await writeFile(file, stringify({ ...limits, ...(io ? { blockIO: io } : {}) }))
  try {
    await promisify(execFile)(runtime.path, [
      ...runtime.args,
      '--root',
      runtime.root,
      'update',
      '--resources',
      file,
      container.id,
    ])
  } catch (error) {
    const told = (error as { stderr?: string }).stderr?.trim()
    throw internal(`Cannot update container ${container.id}: ${told || messageOf(error)}`, error)
  }
}

/** An empty list is given, too: it ends the limits of before. */
const isGiven = (value: unknown): boolean =>
  value !== undefined && value !== 0 && value !== '' && value !== false

/** What an update can change. */
const changeable = [
  'BlkioWeight',
  'BlkioWeightDevice',
  'BlkioDeviceReadBps',
  'BlkioDeviceWriteBps',
  'BlkioDeviceReadIOps',
  'BlkioDeviceWriteIOps',
  'CpuShares',
  'NanoCpus',
  'CpuPeriod',
  'CpuQuota',
  'CpuRealtimePeriod',
  'CpuRealtimeRuntime',
  'CpusetCpus',
  'CpusetMems',
  'Memory',
  'MemorySwap',
  'MemoryReservation',
] as const satisfies (keyof UpdateRequest)[]

const changesOf = (request: UpdateRequest): Partial<HostConfig> => {
  const { RestartPolicy: policy, PidsLimit: pids } = request
  return {
    ...Object.fromEntries(changeable.flatMap(key => (isGiven(request[key]) ? [[key, request[key]]] : []))),
    // Zero and less mean no limit from now on; only an absent one means unchanged.
    ...(pids === undefined ? {} : { PidsLimit: Math.max(pids, 0) }),
    ...(policy?.Name ? { RestartPolicy: { MaximumRetryCount: 0, ...policy } } : {}),
  }
}

/** Errors: `conflict`, where what is asked for does not go with what is set already. */
const checkAgainst = (before: HostConfig, request: UpdateRequest): void => {
  const { NanoCpus: nano = 0, CpuPeriod: period = 0, CpuQuota: quota = 0, Memory: memory = 0 } = request
  const set = (value: number | undefined): boolean => (value ?? 0) > 0
  const refuse = (why: string): never => {
    throw conflict(why)
  }
  if (nano > 0 && set(before.CpuPeriod))
    refuse('Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set')
  if (nano > 0 && set(before.CpuQuota))
    refuse('Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set')
  if (period > 0 && set(before.NanoCpus))
    refuse('Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set')
  if (quota > 0 && set(before.NanoCpus))
    refuse('Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set')
  if (memory !== 0 && !request.MemorySwap && memory > (before.MemorySwap ?? 0))
    refuse(
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    )
  const policy = request.RestartPolicy?.Name ?? ''
  if (before.AutoRemove && policy !== '' && policy !== 'no')
    refuse('Restart policy cannot be updated because AutoRemove is enabled for the container')
}

const decide = (container: Container, request: UpdateRequest): HostConfig => {
  const before = container.record.hostConfig
  try {
    if (container.removing) throw conflict('container is marked for removal and cannot be "update"')
    checkAgainst(before, request)
  } catch (error) {
    throw conflict(`Cannot update container ${container.id}: ${messageOf(error)}`)
  }
  return { ...before, ...changesOf(request) }
}

/** `POST /containers/{id}/update`: zero means unchanged, as in Docker. Returns warnings. */
export const updateContainer = (
  engine: Engine,
  container: Container,
  request: UpdateRequest,
): Promise<string[]> =>
  container.queue.run(async () => {
    const warnings = checkResources(request, { update: true })
    checkRestartPolicy(request.RestartPolicy, false)
    const before = container.record.hostConfig
    const hostConfig = decide(container, request)
    if (container.isRunning) await applyToRuntime(engine, container, hostConfig)
    failpoint('update.applied')
    container.record.hostConfig = hostConfig
    try {
      await engine.containers.save(container, { durable: true })
    } catch (error) {
      container.record.hostConfig = before
      throw error
    }
    failpoint('update.saved')
    containerEvent(engine, container, 'update')
    return warnings
  })
