import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { badRequest } from '../../core/errors.ts'
import { stringify } from '../../core/json.ts'
import type { MonitorSpec } from '../../runtime/types.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { execProcess } from './execProcess.ts'
import type { ExecRecord } from './execRecord.ts'
import { monitorDirectories } from './groups.ts'
import { monitorNamespace } from './userNamespaces.ts'

interface ExecPlace {
  record: ExecRecord
  /** The exec's own, below exec-root. */
  directory: string
  size?: [rows: number, columns: number]
}

/** What the monitor of an exec is told; the process is written down for the runtime. Errors: `bad-request`. */
export const execMonitorSpec = async (
  engine: Engine,
  container: Container,
  { record, directory, size }: ExecPlace,
): Promise<MonitorSpec> => {
  const { request, id } = record
  const processFile = path.join(directory, 'process.json')
  writeFileSync(processFile, stringify(await execProcess(engine, container, request, size)), {
    mode: 0o600,
  })
  const runtime = engine.settings.runtimes.get(container.record.hostConfig.Runtime ?? '')
  if (!runtime) throw badRequest(`unknown or invalid runtime name: ${container.record.hostConfig.Runtime}`)
  const [rows = 0, columns = 0] = size ?? []
  return {
    id,
    directory,
    runtime,
    task: { kind: 'exec', containerId: container.id, processFile },
    ...monitorNamespace(container.record),
    terminal: request.Tty ?? false,
    columns,
    rows,
    openStdin: request.AttachStdin ?? false,
    stdinOnce: true,
    log: { driver: 'none', path: '', maxSize: 0, maxFile: 1, attrs: '' },
    // Made by the container's monitor it is where that is.
    monitorCgroups: container.monitor?.canFork ? [] : monitorDirectories(engine.settings),
    memoryCgroup: '',
    blockOnSlowClient: false,
  }
}
