import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import path from 'node:path'
import { hasCode } from '../../src/core/errors.ts'
import { groupFolders, groupProcesses, groupsBelow } from './groups.ts'
import { busyboxArchive, projectRoot } from './images.ts'
import { monitorsOf } from './monitors.ts'
import { must, type Outcome, type RunOptions, run, until } from './shell.ts'

/**
 * A daemon of a test's own: data root, exec root, socket and a network namespace
 * that plays the host. `close` ends everything and proves that nothing is left.
 */
export interface DaemonOptions {
  flags?: string[]
  env?: Record<string, string>
  /** `crun`, `runc`; the suite's default is what the daemon chooses. */
  runtime?: string
  /** A command that runs the daemon, given as its arguments. Such a one cannot be restarted within the same mounts. */
  within?: string[]
}

/** Programs that the tests talk to a daemon with. */
export const clients = path.join(projectRoot, '.cache/clients')

export const clientPath = (): string => {
  const cached = path.join(clients, 'docker')
  if (!existsSync(cached))
    throw new Error('the docker client for the tests is missing: run ./test, which fetches it')
  return cached
}

/** A configuration of clients by which they find the plugins for the tests. */
export const writeClientConfig = (folder: string): void => {
  mkdirSync(folder, { recursive: true })
  const config = { cliPluginsExtraDirs: [path.join(clients, 'plugins')] }
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config))
}

const killQuietly = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** A monitor that was let go may still be ending. */
const whenEmpty = (folder: string): Promise<boolean> =>
  until(`the control group ${folder} was empty`, () => {
    try {
      rmdirSync(folder)
      return true
    } catch (error) {
      if (hasCode(error, 'EBUSY')) return false
      // With systemd's scopes, systemd may have been quicker.
      if (hasCode(error, 'ENOENT')) return true
      throw error
    }
  })

/** The folders of a daemon's control groups, which a daemon itself leaves for its next start. */
const removeGroups = async (execRoot: string): Promise<void> => {
  for (const folder of groupFolders(execRoot)) {
    for (const group of groupsBelow(folder)) await whenEmpty(group)
  }
}

export class TestDaemon {
  readonly name: string
  readonly base: string
  readonly socket: string
  readonly #options: DaemonOptions
  #process: ChildProcess | undefined
  #end = ''
  #exited: Promise<void> = Promise.resolve()

  constructor(options: DaemonOptions) {
    this.name = `bt${randomBytes(3).toString('hex')}`
    this.base = path.join('/tmp', `berth-${this.name}`)
    this.socket = path.join(this.base, 'docker.sock')
    this.#options = options
  }

  get execRoot(): string {
    return path.join(this.base, 'exec')
  }

  get dataRoot(): string {
    return path.join(this.base, 'data')
  }

  /** Where it looks for plugins: never among the host's. */
  get plugins(): string {
    return path.join(this.base, 'plugins')
  }

  get namespace(): string {
    return `/run/netns/${this.name}`
  }

  get pid(): number {
    return this.#process?.pid ?? 0
  }

  get log(): string {
    return readFileSync(path.join(this.base, 'daemon.log'), 'utf8')
  }

  /** Its process runs. A dead one's socket still takes connections, which then wait. */
  get alive(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
  }

  async prepare(): Promise<void> {
    writeClientConfig(path.join(this.base, 'client'))
    await must(['ip', 'netns', 'add', this.name])
    await must(['ip', '-n', this.name, 'link', 'set', 'lo', 'up'])
    // A new namespace forwards where the machine does; a host that is new does not.
    await must(['ip', 'netns', 'exec', this.name, 'sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
  }

  /** Starts the daemon process and waits until it answers. */
  async start(more: { env?: Record<string, string>; flags?: string[]; wait?: boolean } = {}): Promise<void> {
    const log = createWriteStream(path.join(this.base, 'daemon.log'), { flags: 'a' })
    await new Promise(resolve => log.once('open', resolve))
    const flags = [
      ...[
        '--data-root',
        this.dataRoot,
        '--exec-root',
        this.execRoot,
        '--pidfile',
        path.join(this.base, 'pid'),
      ],
      ...['-H', `unix://${this.socket}`, '--config-file', path.join(this.base, 'daemon.json')],
      ...(this.#options.runtime ? ['--default-runtime', this.#options.runtime] : []),
      ...(this.#options.flags ?? []),
      ...(more.flags ?? []),
    ]
    if (!existsSync(path.join(this.base, 'daemon.json')))
      await must(['sh', '-c', `echo '{}' > ${path.join(this.base, 'daemon.json')}`])
    const child = spawn(
      'nsenter',
      [
        `--net=${this.namespace}`,
        ...(this.#options.within ?? []),
        ...[path.join(projectRoot, 'bin/berthd'), ...flags],
      ],
      {
        stdio: ['ignore', log, log],
        env: { ...process.env, BERTH_TEST_PLUGINS: this.plugins, ...this.#options.env, ...more.env },
      },
    )
    this.#process = child
    // A test that failed half-way must end all the same.
    child.unref()
    this.#exited = new Promise(resolve =>
      child.once('exit', (code, signal) => {
        this.#end = signal ?? `code ${code}`
        resolve()
      }),
    )
    if (more.wait === false) return
    // A connection to a dead daemon's socket waits, so its end must be seen by itself.
    const died = this.#exited.then(() => {
      throw new Error(`the daemon ended (${this.#end}): ${this.log.slice(-2000)}`)
    })
    const answered = until('the daemon answered', async () => (await this.ping()) === 200, 60_000)
    died.catch(() => {})
    answered.catch(() => {})
    await Promise.race([answered, died])
  }

  async ping(): Promise<number> {
    try {
      return (await this.api('GET', '/_ping')).status
    } catch {
      return 0
    }
  }

  /** Ends the daemon by a signal; settles when the process is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#process?.ref()
    this.#process?.kill(signal)
    await this.#exited
  }

  /** Settles when the daemon's process has ended by itself. */
  async exited(): Promise<void> {
    this.#process?.ref()
    await this.#exited
  }

  async restart(more: { env?: Record<string, string>; flags?: string[] } = {}): Promise<void> {
    await this.kill()
    await this.start(more)
  }

  get dockerEnv(): Record<string, string> {
    return { DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: path.join(this.base, 'client') }
  }

  get client(): string {
    return clientPath()
  }

  /** Runs the real docker client. */
  docker(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run([clientPath(), ...args], { ...options, env: { ...this.dockerEnv, ...options.env } })
  }

  /** Runs the real docker client; it must succeed. Gives stdout without the last newline. */
  mustDocker(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return must([clientPath(), ...args], { ...options, env: { ...this.dockerEnv, ...options.env } })
  }

  /** A command in the namespace that plays the host. */
  onHost(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(['nsenter', `--net=${this.namespace}`, ...command], options)
  }

  /** A raw request. */
  api(
    method: string,
    url: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
    return new Promise((resolve, reject) => {
      const json =
        body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
      const type = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const req = request(
        { socketPath: this.socket, method, path: url, headers: { Host: 'docker', ...type, ...headers } },
        res => {
          const chunks: Buffer[] = []
          res.on('data', chunk => chunks.push(chunk))
          res.on('end', () =>
            resolve({
              status: res.statusCode ?? 0,
              headers: res.headers,
              text: Buffer.concat(chunks).toString(),
            }),
          )
          res.on('error', reject)
        },
      )
      req.on('error', reject)
      req.end(json)
    })
  }

  async json<T>(method: string, url: string, body?: unknown): Promise<T> {
    const { status, text } = await this.api(method, url, body)
    if (status >= 400) throw new Error(`${method} ${url}: ${status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  async loadBusybox(): Promise<void> {
    await this.mustDocker(['load', '-q', '-i', await busyboxArchive()])
  }

  /** As a power cut does: daemon, store, monitors and containers are gone at once, and with them all that is not on a disk. */
  async loseKernelObjects(): Promise<void> {
    await this.kill()
    for (const { pid } of monitorsOf(this.execRoot)) killQuietly(pid)
    for (const pid of groupProcesses(this.execRoot)) killQuietly(pid)
    await this.#unmountAll(this.execRoot)
    rmSync(this.execRoot, { recursive: true, force: true })
    rmSync(this.socket, { force: true })
    await removeGroups(this.execRoot)
    await must(['ip', 'netns', 'del', this.name])
    await this.prepare()
  }

  /** Removes every container, stops the daemon with all it holds, and takes its folders away. */
  async close(): Promise<void> {
    if (!this.alive) await this.start()
    const ids = await this.json<{ Id: string }[]>('GET', '/containers/json?all=1')
    await Promise.all(ids.map(({ Id }) => this.api('DELETE', `/containers/${Id}?force=1&v=1`)))
    await this.kill('SIGTERM')
    await this.#endHolder()
    await this.#unmountAll()
    await removeGroups(this.execRoot)
    await run(['ip', 'netns', 'del', this.name])
    rmSync(this.base, { recursive: true, force: true })
  }

  async #endHolder(): Promise<void> {
    const pids = (await run(['pgrep', '-f', `berth-monitor hold ${this.execRoot}`])).stdout
      .trim()
      .split('\n')
      .filter(Boolean)
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL')
  }

  async #unmountAll(below = `${this.base}/`): Promise<void> {
    for (;;) {
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map(line => line.split(' ')[4] ?? '')
        .filter(target => target.startsWith(below))
      const last = mounts.at(-1)
      if (last === undefined) return
      await must(['umount', '-l', last])
    }
  }
}

/** A running daemon with nothing in it. */
export const startDaemon = async (options: DaemonOptions = {}): Promise<TestDaemon> => {
  const daemon = new TestDaemon(options)
  await daemon.prepare()
  await daemon.start()
  return daemon
}

/** Such a daemon, with busybox, for as long as it is used. */
export const withDaemon = async (
  options: DaemonOptions,
  use: (daemon: TestDaemon) => Promise<void>,
): Promise<void> => {
  const daemon = await startDaemon(options)
  try {
    await daemon.loadBusybox()
    await use(daemon)
  } finally {
    await daemon.close()
  }
}
