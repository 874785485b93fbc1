/**
 * The stage of kernel tests: a network namespace that plays the host, another
 * that plays another machine, and processes in them. A test file runs itself
 * again inside; the machine's own namespaces are never touched.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { sys } from '../../linux/ffi.ts'
import { createNamespace, prepareNamespaces, preparePinFolder } from '../../linux/namespace.ts'
import {
  type BridgeSpec,
  type EndpointSpec,
  ordinaryBridge,
  type PortKeeper,
  type PortRequest,
} from '../types.ts'
import type { PeerOrder } from './peer.ts'

const marker = 'BERTH_NET_STAGE'

/** True inside the namespace that plays the host. */
export const onStage = process.env[marker] !== undefined

// The process namespace ends all of them, even where the test runner is killed.
const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']

/** Runs a test file again on the stage; throws its output where it fails. */
export const runOnStage = (file: string, timeout = 400_000): void => {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-net-'))
  const nested = spawnSync(
    'unshare',
    [...namespaces, process.execPath, '--test', '--test-force-exit', '--test-reporter=spec', file],
    { env: { ...env, [marker]: folder }, encoding: 'utf8', timeout, killSignal: 'SIGKILL' },
  )
  // The mounts below it ended with their namespace.
  fs.rmSync(folder, { recursive: true, force: true })
  if (process.env['BERTH_NET_FIGURES']) process.stdout.write(nested.stdout)
  if (nested.status !== 0) throw new Error(`on the stage:\n${nested.stdout}\n${nested.stderr}`)
}

export const ip = (text: string): void => {
  execFileSync('ip', text.split(' '), { stdio: 'pipe' })
}

export const nft = (text: string): string => execFileSync('nft', [text], { encoding: 'utf8' })

/** Names of the host's links. */
export const links = (): string[] =>
  [...fs.readFileSync('/proc/self/net/dev', 'utf8').matchAll(/^ *(\S+):/gm)]
    .map(([, name = '']) => name)
    .sort()

/** Below the ports that the kernel hands out itself. */
let lastAsker = 10_000

/** A port that nobody on this stage asked from yet: another's datagrams would follow the flow which that one left. */
const freshAsker = (): number => {
  lastAsker += 1
  return lastAsker
}

/** A process in a namespace; undefined is the host's. */
export class Peer {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, { resolve(reply: string): void; reject(error: Error): void }>()
  #next = 1

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (message: { id: number; reply?: string; error?: string }) => {
      const waiting = this.#pending.get(message.id)
      this.#pending.delete(message.id)
      if (message.error === undefined) waiting?.resolve(message.reply ?? '')
      else waiting?.reject(new Error(message.error))
    })
  }

  static async start(name: string, namespace?: string): Promise<Peer> {
    const script = fileURLToPath(new URL('./peer.ts', import.meta.url))
    const command = [process.execPath, script, name]
    const [program = '', ...args] = namespace ? ['nsenter', `--net=${namespace}`, ...command] : command
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    await once(child, 'message')
    return new Peer(child)
  }

  order(order: PeerOrder): Promise<string> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.send({ id, order })
    })
  }

  serve(
    port: number,
    { protocol = 'tcp', host = '0.0.0.0' }: { protocol?: 'tcp' | 'udp'; host?: string } = {},
  ) {
    return this.order({ do: 'serve', protocol, host, port })
  }

  /** The answer's text, or why there was none (`ECONNREFUSED`, `no answer`). */
  async ask(
    host: string,
    port: number,
    more: { protocol?: 'tcp' | 'udp'; from?: number; patience?: number; size?: number } = {},
  ) {
    const { protocol = 'tcp', patience = 10_000, from = freshAsker(), ...rest } = more
    try {
      return await this.order({ do: 'ask', protocol, host, port, patience, from, ...rest })
    } catch (error) {
      return (error as Error).message
    }
  }

  /** Asks where no answer is expected: a drop shows only by silence. */
  askInVain(host: string, port: number): Promise<string> {
    return this.ask(host, port, { patience: 400 })
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}

const dup = sys('int dup(int fd)')
const close = sys('int close(int fd)')

/** Keeps descriptors in this process. */
export class MemoryKeeper implements PortKeeper {
  readonly kept = new Map<string, number>()

  async keep(name: string, fd: number): Promise<void> {
    this.kept.set(name, dup(fd))
  }

  async drop(name: string): Promise<void> {
    const fd = this.kept.get(name)
    this.kept.delete(name)
    if (fd !== undefined) close(fd)
  }

  async names(): Promise<string[]> {
    return [...this.kept.keys()]
  }
}

export interface Stage {
  execRoot: string
  /** Pin of another machine's namespace: 203.0.113.2, its default route by the host, 203.0.113.1. */
  other: string
  /** The same for 198.18.0.2 behind 198.18.0.1. */
  third: string
}

/** Connects a new namespace at `pin` by a wire: the host is `<net>.1`, the machine `<net>.2`. */
const addMachine = (pin: string, hostLink: string, net: string): string => {
  createNamespace(pin)
  inside(pin, 'ip', 'link', 'add', hostLink, 'type', 'veth', 'peer', 'name', 'eth0')
  inside(pin, 'ip', 'link', 'set', hostLink, 'netns', String(process.pid))
  ip(`addr add ${net}.1/24 dev ${hostLink}`)
  ip(`link set ${hostLink} up`)
  inside(pin, 'ip', 'link', 'set', 'lo', 'up')
  inside(pin, 'ip', 'addr', 'add', `${net}.2/24`, 'dev', 'eth0')
  inside(pin, 'ip', 'link', 'set', 'eth0', 'up')
  inside(pin, 'ip', 'route', 'add', 'default', 'via', `${net}.1`)
  return pin
}

/** Sets the stage: loopback up, two other machines, each on a wire of its own. Only inside. */
export const setStage = async (): Promise<Stage> => {
  await prepareNamespaces()
  const folder = process.env[marker] ?? ''
  const pins = path.join(folder, 'pins')
  preparePinFolder(pins)
  ip('link set lo up')
  // A new namespace takes it from the machine's own.
  fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '0')
  const other = addMachine(path.join(pins, 'other'), 'wan0', '203.0.113')
  const third = addMachine(path.join(pins, 'third'), 'wan1', '198.18.0')
  return { execRoot: path.join(folder, 'exec'), other, third }
}

/** Runs a command in a namespace. */
export const inside = (namespace: string, program: string, ...args: string[]): string =>
  execFileSync('nsenter', [`--net=${namespace}`, program, ...args], { encoding: 'utf8', stdio: 'pipe' })

/** In a namespace, packets to 198.51.100.1 leave with 127.0.0.1 as their destination, and answers come back so. */
export const craftLoopbackPackets = (namespace: string): void => {
  const batch = `add table ip craft
    add chain ip craft out { type filter hook postrouting priority 300; }
    add rule ip craft out ip daddr 198.51.100.1 ip daddr set 127.0.0.1
    add chain ip craft back { type filter hook prerouting priority -300; }
    add rule ip craft back iifname eth0 ip saddr 127.0.0.1 ip saddr set 198.51.100.1`
  inside(namespace, 'nft', batch)
}

export const bridgeNumber = (number: number): BridgeSpec => ({
  networkId: `network${number}`,
  link: `bt${number}`,
  subnet: { address: `172.30.${number}.0`, prefix: 24 },
  gateway: `172.30.${number}.1`,
  mtu: 1500,
  ...ordinaryBridge,
})

export const port = (
  hostPort: number,
  containerPort: number,
  more: Partial<PortRequest> = {},
): PortRequest => ({
  protocol: 'tcp',
  containerPort,
  hostIp: '0.0.0.0',
  hostPortFirst: hostPort,
  hostPortLast: hostPort,
  ...more,
})

export const endpointSpec = (
  containerId: string,
  bridge: BridgeSpec,
  { ipv4, ports = [] }: { ipv4: string; ports?: PortRequest[] },
): EndpointSpec => ({
  containerId,
  bridge,
  interfaceName: 'eth0',
  ipv4,
  mac: `02:42:${ipv4
    .split('.')
    .map(part => Number(part).toString(16).padStart(2, '0'))
    .join(':')}`,
  ports,
  defaultRoute: true,
})
