import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { conflict, internal, messageOf } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { stringify } from '../../core/json.ts'
import { cgroupVersion } from '../../linux/cgroups.ts'
import type { HostConfig, UpdateRequest } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { specLimits } from './specResources.ts'
import { runDirectory } from './state.ts'
import { checkResources, checkRestartPolicy, dropUnsupported } from './validate.ts'

const applyToRuntime = async (
  engine: Engine,
  container: Container,
  hostConfig: HostConfig,
): Promise<void> => {
  const runtime = engine.settings.runtimes.get(hostConfig.Runtime ?? '')
  if (!runtime) return
  // By a file: crun opens what it is given, and cannot open a pipe of Node's.
  const file = path.join(runDirectory(engine, container), 'update.json')
  await writeFile(file, stringify(specLimits(hostConfig)))
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
    throw internal(`Cannot update container ${container.id}: ${messageOf(error)}`, error)
  }
}

const numberKeys = (request: UpdateRequest): Partial<HostConfig> => {
  const { RestartPolicy: policy, ...limits } = request
  const given = Object.entries(limits).filter(
    ([, value]) => value !== 0 && value !== '' && !(Array.isArray(value) && value.length === 0),
  )
  const named = policy?.Name ? { RestartPolicy: { MaximumRetryCount: 0, ...policy } } : {}
  return { ...Object.fromEntries(given), ...named }
}

/** `POST /containers/{id}/update`: zero means unchanged, as in Docker. Returns warnings. */
export const updateContainer = (
  engine: Engine,
  container: Container,
  request: UpdateRequest,
): Promise<string[]> =>
  container.queue.run(async () => {
    if (container.removing)
      throw conflict(
        `Cannot update container ${container.id}: container is marked for removal and cannot be "update"`,
      )
    const before = container.record.hostConfig
    const hostConfig: HostConfig = { ...before, ...numberKeys(request) }
    if (request.NanoCpus) {
      hostConfig.CpuPeriod = 0
      hostConfig.CpuQuota = 0
    }
    const warnings = dropUnsupported(hostConfig, cgroupVersion)
    checkResources(hostConfig)
    checkRestartPolicy(hostConfig.RestartPolicy, hostConfig.AutoRemove ?? false)
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
