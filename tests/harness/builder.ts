import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import type { ConnectRouter } from '@connectrpc/connect'
import { createGrpcDoor } from '../../src/api/buildkit/grpcDoor.ts'
import { sessionFields, upgradeToH2c } from '../../src/api/buildkit/upgrade.ts'
import { stopReading } from '../../src/api/hijack.ts'
import { Sessions } from '../../src/build/session/sessions.ts'
import { clientPath, writeClientConfig } from './daemon.ts'
import { type Outcome, type RunOptions, run } from './shell.ts'

/** A door for BuildKit's clients without a daemon behind it: the real client talks to services of a test. */

const answers: Record<string, object> = {
  '/version': { Version: '0.1.0', ApiVersion: '1.45', MinAPIVersion: '1.24', Os: 'linux', Arch: 'amd64' },
  '/info': { ID: 'test', OSType: 'linux', Driver: 'overlay2', DriverStatus: [] },
}

const requester = { remote: 'unix', agent: '', requestId: '' }

const answer = (req: IncomingMessage, res: ServerResponse): void => {
  const route = (req.url ?? '').replace(/^\/v\d+\.\d+/, '').replace(/\?.*/, '')
  res.setHeader('Api-Version', '1.45')
  res.setHeader('Builder-Version', '2')
  res.setHeader('Ostype', 'linux')
  if (route === '/_ping') res.end('OK')
  else if (answers[route])
    res.setHeader('Content-Type', 'application/json').end(JSON.stringify(answers[route]))
  else res.writeHead(404, { 'Content-Type': 'application/json' }).end('{"message":"page not found"}')
}

export interface ClientOptions extends RunOptions {
  /** Kills the client and all that it started. */
  kill?: AbortSignal
}

export interface TestBuilder extends AsyncDisposable {
  sessions: Sessions
  /** Where contexts and such may be put. */
  base: string
  /** Connections that are open. */
  connections(): number
  /** Runs the real docker client against it. */
  docker(args: readonly string[], options?: ClientOptions): Promise<Outcome>
}

export interface BuilderOptions {
  routes: (router: ConnectRouter, sessions: Sessions) => void
  /** Sees each upgrade before it is answered. */
  onUpgrade?: (req: IncomingMessage) => void
}

const runKillable = async (
  [file = '', ...args]: readonly string[],
  env: Record<string, string>,
  kill: AbortSignal,
): Promise<Outcome> => {
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: 'ignore', detached: true })
  kill.addEventListener('abort', () => process.kill(-(child.pid ?? 0), 'SIGKILL'), { once: true })
  await once(child, 'close')
  return { code: child.exitCode ?? 255, stdout: '', stderr: '' }
}

export const startBuilder = async ({ routes, onUpgrade }: BuilderOptions): Promise<TestBuilder> => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-builder-'))
  const sessions = new Sessions()
  const door = createGrpcDoor(router => routes(router, sessions))
  const open = new Set<Socket>()
  const server = createServer(answer)
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  server.on('upgrade', (req: IncomingMessage, wrapper: Duplex, head: Buffer) => {
    onUpgrade?.(req)
    // As the daemon's own server does with what comes without a body.
    stopReading(req)
    const left = { head, wrapper }
    if (req.url?.endsWith('/grpc')) door.take(upgradeToH2c(req, left), () => ({ requester, ended: () => {} }))
    else sessions.open({ ...sessionFields(req), socket: upgradeToH2c(req, left) })
  })
  const socket = path.join(base, 'docker.sock')
  server.listen(socket)
  await once(server, 'listening')
  writeClientConfig(path.join(base, 'client'))
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: path.join(base, 'client') }
  return {
    sessions,
    base,
    connections: () => open.size,
    docker: (args, { kill, ...options } = {}) =>
      kill
        ? runKillable([clientPath(), ...args], env, kill)
        : run([clientPath(), ...args], { deadline: 60_000, ...options, env: { ...env, ...options.env } }),
    [Symbol.asyncDispose]: async () => {
      await sessions[Symbol.asyncDispose]()
      door[Symbol.dispose]()
      for (const left of open) left.destroy()
      server.close()
      rmSync(base, { recursive: true, force: true })
    },
  }
}
