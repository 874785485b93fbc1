import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { busyboxArchive, projectRoot } from '../tests/harness/images.ts'
import { must, run, until } from '../tests/harness/shell.ts'
import { load, remove } from './acts.ts'
import { call, json } from './client.ts'
import { bornIn, makeGroup, processesOf } from './groups.ts'
import type { Engine } from './types.ts'

/** Debian 13's dockerd and containerd, unpacked, with folders, socket, network namespace and groups of their own. */
export interface Peer extends Engine {
  close(): Promise<void>
}

const containerdConfig = (base: string): string => `version = 2
root = "${base}/containerd"
state = "${base}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${base}/containerd.sock"
`

const started = (base: string, name: string, command: string[]): ChildProcess => {
  const log = openSync(path.join(base, `${name}.log`), 'a')
  const bin = path.join(projectRoot, '.cache/peer/bin')
  const [file = '', ...args] = command
  return spawn(file, args, {
    stdio: ['ignore', log, log],
    env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
  })
}

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exit
}

const answers = async (socket: string, child: ChildProcess, log: string): Promise<boolean> => {
  if (child.exitCode !== null) throw new Error(`dockerd ended: ${readFileSync(log, 'utf8').slice(-2000)}`)
  try {
    await call(socket, 'GET /_ping')
    return true
  } catch {
    return false
  }
}

const startDaemons = async (base: string, namespace: string, parent: string): Promise<ChildProcess[]> => {
  const containerd = started(base, 'containerd', ['containerd', '--config', `${base}/containerd.toml`])
  await until('containerd made its socket', () => existsSync(`${base}/containerd.sock`))
  const socket = `${base}/docker.sock`
  const dockerd = started(base, 'dockerd', [
    ...['nsenter', `--net=/run/netns/${namespace}`, 'dockerd'],
    ...['--config-file', `${base}/daemon.json`, '--containerd', `${base}/containerd.sock`],
    ...['--data-root', `${base}/data`, '--exec-root', `${base}/exec`, '--pidfile', `${base}/pid`],
    ...['-H', `unix://${socket}`, '--bip', '10.213.0.1/20', '--storage-driver', 'overlay2'],
    ...['--cgroup-parent', parent],
  ])
  await until('dockerd answered', () => answers(socket, dockerd, `${base}/dockerd.log`), 60_000)
  return [dockerd, containerd]
}

const unmountAll = async (base: string): Promise<void> => {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(target => target.startsWith(`${base}/`))
  for (const target of mounts.toReversed()) await run(['umount', '-l', target])
}

export const startPeer = async (base: string): Promise<Peer> => {
  await must([path.join(projectRoot, 'scripts/fetch-peer')])
  const group = makeGroup(`${base}/peer`)
  const folder = `/tmp/${base}-peer`
  const socket = `${folder}/docker.sock`
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}/containerd.toml`, containerdConfig(folder))
  writeFileSync(`${folder}/daemon.json`, '{}')
  await must(['ip', 'netns', 'add', `${base}-peer`])
  await must(['ip', '-n', `${base}-peer`, 'link', 'set', 'lo', 'up'])
  const daemons = await bornIn(group, () =>
    startDaemons(folder, `${base}-peer`, path.join('/', group.path, 'containers')),
  )
  await load(socket, await busyboxArchive())
  return {
    name: 'dockerd',
    socket,
    group,
    namespace: `/run/netns/${base}-peer`,
    close: async () => {
      for (const { Id } of await json<{ Id: string }[]>(socket, 'GET /containers/json?all=1'))
        await remove(socket, Id)
      for (const daemon of daemons) await ended(daemon)
      for (const pid of processesOf(group.path)) process.kill(pid, 'SIGKILL')
      await until('the peer was gone', () => processesOf(group.path).length === 0)
      await unmountAll(folder)
      await run(['ip', 'netns', 'del', `${base}-peer`])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
