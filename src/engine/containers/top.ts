import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { conflict, hasCode, internal, messageOf } from '../../core/errors.ts'
import { groupProcesses } from '../../linux/cgroups.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { containerGroup } from './groups.ts'
import { settleExit } from './state.ts'

/** `GET /containers/{id}/top`: the host's `ps` on a container's processes. */

/** Engine API `ContainerTopResponse` */
export interface ProcessTable {
  Titles: string[]
  Processes: string[][]
}

const run = promisify(execFile)
const maxOutput = 32 * 1024 * 1024

/** A column that calls itself PID would hide whose process a line is. */
const checkArguments = (text: string): void => {
  for (const [, column, title] of text.matchAll(
    /[\t\n\f\r ]+([^\t\n\f\r ]*)=[\t\n\f\r ]*(PID[^\t\n\f\r ]*)/g,
  ))
    if (column !== 'pid') throw internal(`specifying "${column}=${title}" is not allowed`)
}

const fields = (line: string): string[] => line.split(/[\t\n\f\r ]+/).filter(Boolean)

/** As many cells as titles: what is over belongs to the last, the command. */
const cells = (line: string[], titles: number): string[] => [
  ...line.slice(0, titles - 1),
  line.slice(titles - 1).join(' '),
]

/** The lines of `ps` about these processes, with the lines of their threads (`-m`). Errors: `internal` in Docker's words. */
export const parseProcessTable = (output: string, pids: ReadonlySet<number>): ProcessTable => {
  const [head = '', ...lines] = output.split('\n')
  const titles = fields(head)
  const pidColumn = titles.indexOf('PID')
  if (pidColumn < 0) throw internal("Couldn't find PID field in ps output")
  const processes: string[][] = []
  let ours = false
  for (const line of lines) {
    if (line === '') continue
    const found = fields(line)
    const pid = found[pidColumn] ?? ''
    if (pid !== '-') {
      if (!/^\d+$/.test(pid)) throw internal(`Unexpected pid '${pid}': it is not a number`)
      ours = pids.has(Number(pid))
    }
    if (ours) processes.push(cells(found, titles.length))
  }
  return { Titles: titles, Processes: processes }
}

const failure = (error: unknown): Error => {
  if (hasCode(error, 'ENOENT')) return internal('ps: it is not installed on the host (install procps)', error)
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : ''
  const [line = ''] = stderr.split('\n', 1)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return internal(`ps: ${line || (typeof code === 'number' ? `exit status ${code}` : messageOf(error))}`)
}

/** Some options (`f`) do not go together with a choice of processes: then all are asked for, and ours picked. */
const runPs = async (args: string[], pids: readonly number[]): Promise<string> => {
  const options = { maxBuffer: maxOutput }
  try {
    return (await run('ps', [...args, `-q${pids.join(',')}`], options)).stdout
  } catch {
    try {
      return (await run('ps', args, options)).stdout
    } catch (error) {
      throw failure(error)
    }
  }
}

/** Errors: 409 where it does not run, 500 with what `ps` said. */
export const containerTop = async (
  engine: Engine,
  container: Container,
  psArguments: string,
): Promise<ProcessTable> => {
  const text = psArguments || '-ef'
  checkArguments(text)
  await settleExit(engine, container)
  if (container.record.state.status === 'restarting')
    throw conflict(`Container ${container.id} is restarting, wait until the container is running`)
  if (!container.isRunning) throw conflict(`container ${container.id} is not running`)
  const pids = groupProcesses(containerGroup(engine.settings, container.record).group)
  const table = parseProcessTable(await runPs(text.split(' '), pids), new Set(pids))
  containerEvent(engine, container, 'top')
  return table
}
