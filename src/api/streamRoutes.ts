import { once } from 'node:events'
import { badRequest, messageOf } from '../core/errors.ts'
import { attachContainer } from '../engine/containers/attach.ts'
import type { LogOptions } from '../engine/containers/logs/format.ts'
import { checkReadable, checkStreams, openLog } from '../engine/containers/logs/read.ts'
import { resizeContainer } from '../engine/containers/resize.ts'
import { execCreateRequest, execStartRequest } from '../wire/container.ts'
import { parseTimestamp } from '../wire/timestamps.ts'
import { readJson } from './body.ts'
import type { Call, Query, Route } from './route.ts'
import { standardHeaders } from './server.ts'
import { tracked } from './track.ts'

/** Streams of containers: attach, logs, exec, resize. */

const rawStream = 'application/vnd.docker.raw-stream'
const multiplexedStream = 'application/vnd.docker.multiplexed-stream'

const container = (call: Call) => call.engine.containers.get(call.params['id'] ?? '')

/** Before 1.42 every stream is called raw. */
const streamType = (call: Call, tty: boolean): string =>
  tty || !call.version.atLeast('1.42') ? rawStream : multiplexedStream

const attach = async (call: Call): Promise<undefined> => {
  const target = container(call)
  const { query } = call
  const options = {
    stream: query.flag('stream'),
    stdin: query.flag('stdin'),
    stdout: query.flag('stdout'),
    stderr: query.flag('stderr'),
    logs: query.flag('logs'),
    detachKeys: query.get('detachKeys'),
  }
  await attachContainer(call.engine, target, options, () =>
    call.takeOver('stream', {
      'Content-Type': streamType(call, target.record.config.Tty ?? false),
      ...standardHeaders(call.engine.settings.experimental),
    }),
  )
  return undefined
}

const timeOf = (query: Query, name: string): bigint | undefined => {
  const text = query.get(name)
  if (text === undefined || text === '' || text === '0') return undefined
  try {
    return parseTimestamp(text)
  } catch (error) {
    throw badRequest(`invalid value for "${name}": ${messageOf(error)}`, error)
  }
}

const logOptions = (query: Query): LogOptions => {
  const tail = query.get('tail')
  const lines =
    tail === undefined || tail === '' || tail === 'all' || !/^\d+$/.test(tail) ? undefined : Number(tail)
  return {
    stdout: query.flag('stdout'),
    stderr: query.flag('stderr'),
    since: timeOf(query, 'since'),
    until: timeOf(query, 'until'),
    timestamps: query.flag('timestamps'),
    details: query.flag('details'),
    follow: query.flag('follow'),
    tail: lines,
  }
}

const logs = async (call: Call): Promise<undefined> => {
  const target = container(call)
  const options = logOptions(call.query)
  checkStreams(options)
  checkReadable(target)
  const { res, signal } = call
  // Open before the answer begins: who has that may remove the container.
  await using log = await openLog(call.engine, target, options, signal)
  res.writeHead(200, { 'Content-Type': streamType(call, target.record.config.Tty ?? false) })
  res.flushHeaders()
  for await (const bytes of log.batches()) if (!res.write(bytes)) await once(res, 'drain', { signal })
  res.end()
}

/** As Go parses an unsigned number of 32 bits, in its words. */
const side = (query: Query, name: 'h' | 'w', what: string): number => {
  const text = query.get(name) ?? ''
  const fault = (why: string) => badRequest(`invalid resize ${what} ${JSON.stringify(text)}: ${why}`)
  if (!/^-?\d+$/.test(text)) throw fault('invalid syntax')
  const value = Number(text)
  if (text.startsWith('-') || value > 0xffffffff) throw fault('value out of range')
  return value
}

const size = (query: Query): { columns: number; rows: number } => {
  const rows = side(query, 'h', 'height')
  return { columns: side(query, 'w', 'width'), rows }
}

const startExec = async (call: Call): Promise<{ status: number } | undefined> => {
  const { engine, params } = call
  const id = params['id'] ?? ''
  const request = await readJson(call.req, execStartRequest)
  const { containerId, request: asked } = engine.execs.record(id)
  const tty = asked.Tty ?? false
  const [rows, columns] =
    (call.version.atLeast('1.42') ? request.ConsoleSize : undefined) ?? asked.ConsoleSize ?? []
  const console = rows && columns ? { size: [rows, columns] as [number, number] } : {}
  const subject = { type: 'exec', id, name: `in ${engine.containers.get(containerId).record.name}` }
  const accept = () =>
    call.takeOver('stream', {
      'Content-Type': streamType(call, tty),
      ...standardHeaders(call.engine.settings.experimental),
    })
  await tracked(call, { verb: 'start', subject }, operation =>
    engine.execs.start(engine, id, { tty, ...console, operation, ...(request.Detach ? {} : { accept }) }),
  )
  return request.Detach ? { status: 200 } : undefined
}

export const streamRoutes: Route[] = [
  { method: 'POST', path: '/containers/{id}/attach', operation: 'ContainerAttach', handle: attach },
  {
    method: 'GET',
    path: '/containers/{id}/logs',
    operation: 'ContainerLogs',
    lacks: 'drivers other than json-file, syslog and gelf',
    handle: logs,
  },
  {
    method: 'POST',
    path: '/containers/{id}/resize',
    operation: 'ContainerResize',
    handle: async call => {
      const target = container(call)
      const { columns, rows } = size(call.query)
      await resizeContainer(call.engine, target, { columns, rows })
      return { status: 200 }
    },
  },
  {
    method: 'POST',
    path: '/containers/{id}/exec',
    operation: 'ContainerExec',
    handle: async call => {
      const request = await readJson(call.req, execCreateRequest)
      if (!call.version.atLeast('1.42')) delete request.ConsoleSize
      return {
        status: 201,
        json: { Id: await call.engine.execs.create(call.engine, container(call), request) },
      }
    },
  },
  { method: 'POST', path: '/exec/{id}/start', operation: 'ExecStart', handle: startExec },
  {
    method: 'POST',
    path: '/exec/{id}/resize',
    operation: 'ExecResize',
    handle: async ({ engine, params, query }) => {
      await engine.execs.resize(params['id'] ?? '', size(query))
      return { status: 200 }
    },
  },
  {
    method: 'GET',
    path: '/exec/{id}/json',
    operation: 'ExecInspect',
    handle: async ({ engine, params }) => ({ json: engine.execs.inspect(engine, params['id'] ?? '') }),
  },
]
