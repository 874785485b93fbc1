import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { ExitRecord } from '../../runtime/types.ts'
import type { ExecCreateRequest } from '../../wire/container.ts'

/** A further process in a container: `POST /containers/{id}/exec`, then `POST /exec/{id}/start`. */
export interface ExecRecord {
  id: string
  containerId: string
  request: ExecCreateRequest
  /** False until the first start. */
  started: boolean
  running: boolean
  pid: number
  exitCode: number | null
}

/** Undefined where there is none that can be read. */
export const readExecRecord = async (directory: string): Promise<ExecRecord | undefined> => {
  try {
    return JSON.parse(await readFile(path.join(directory, 'exec.json'), 'utf8')) as ExecRecord
  } catch {
    return undefined
  }
}

/** The end of an exec that never ran. */
export const failedRecord = (error: string): ExitRecord => ({
  phase: 'failed',
  pid: 0,
  exitCode: 126,
  oomKilled: false,
  startedAt: 0n,
  finishedAt: 0n,
  error,
})

/** Engine API `ExecInspectResponse`. */
export const describeExec = (record: ExecRecord): object => {
  const { request } = record
  const [entrypoint = '', ...args] = request.Cmd ?? []
  return {
    ID: record.id,
    Running: record.running,
    ExitCode: record.exitCode,
    ProcessConfig: {
      tty: request.Tty ?? false,
      entrypoint,
      arguments: args,
      privileged: request.Privileged ?? false,
      ...(request.User ? { user: request.User } : {}),
    },
    OpenStdin: request.AttachStdin ?? false,
    OpenStderr: request.AttachStderr ?? false,
    OpenStdout: request.AttachStdout ?? false,
    CanRemove: record.exitCode !== null,
    ContainerID: record.containerId,
    DetachKeys: request.DetachKeys ?? '',
    Pid: record.pid,
  }
}

/** The action of an exec's event: its program, a space, its arguments, as Docker writes them. */
export const execAction = (what: 'exec_create' | 'exec_start', { Cmd = [] }: ExecCreateRequest): string => {
  const [program, ...rest] = Cmd
  return `${what}: ${program} ${rest.join(' ')}`
}
