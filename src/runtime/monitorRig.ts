import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { hasCode } from '../core/errors.ts'
import { closeDescriptor, socketPair } from '../linux/descriptors.ts'
import { launchMonitor } from './launch.ts'
import type { AttachRequest, ExitRecord, MonitorClient, MonitorEvents, MonitorSpec } from './types.ts'

/** What the tests of monitor and holder share: a fake OCI runtime, run directories, clients. */

const root = path.join(import.meta.dirname, '../..')

type Variant = '' | '-old' | '-asan' | '-parsers'

/** The sanitizer run repeats whole test files with its own binary. */
const chosenVariant = (): Variant => (process.env['BERTH_MONITOR_VARIANT'] === '-asan' ? '-asan' : '')

/** Builds (or finds) a variant of the binary: '' , '-old' or '-asan'. */
export const monitorBinary = (variant: Variant = chosenVariant()): string => {
  const targets = { '': 'all', '-old': 'old', '-asan': 'sanitize', '-parsers': 'fuzz' }
  execFileSync('make', ['-s', '-C', path.join(root, 'monitor'), targets[variant]], { stdio: 'inherit' })
  return path.join(root, `build/berth-monitor${variant}`)
}

/**
 * Runs the bundle's run.sh (or, as exec, the process file itself) and writes its pid; fails where `refuse` stands
 * beside it. The last step is no builtin: after one of those the shell would reap a process that has already ended.
 */
const fakeRuntime = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --bundle) script=$2/run.sh; shift;;
    --process) script=$2; shift;;
    --pid-file) pid_file=$2; shift;;
  esac
  shift
done
if [ -e "\${script%/*}/refuse" ]; then cat "\${script%/*}/refuse" >&2; exit 1; fi
exec 3<&0
sh "$script" <&3 3<&- &
exec tee "$pid_file" >/dev/null <<END
$!
END
`

export interface Rig {
  directory: string
  bundle: string
  logPath: string
  spec: MonitorSpec
  binary: string
  /** Run backwards when the test ends. */
  undo: (() => void)[]
}

export type SpecChange = Partial<Omit<MonitorSpec, 'log'>> & { log?: Partial<MonitorSpec['log']> }

/** A run directory with a fake runtime whose container is this shell script. All of it goes when the test ends. */
export const makeRig = (
  t: TestContext,
  options: { script: string; binary?: string; change?: SpecChange },
): Rig => {
  const base = mkdtempSync('/tmp/berth-monitor-test-')
  const undo = [() => rmSync(base, { recursive: true, force: true })]
  t.after(() => {
    for (const step of undo.reverse()) step()
  })
  const directory = path.join(base, 'run')
  const bundle = path.join(base, 'bundle')
  mkdirSync(directory)
  mkdirSync(bundle)
  writeFileSync(path.join(bundle, 'run.sh'), options.script)
  const runtimePath = path.join(base, 'runtime')
  writeFileSync(runtimePath, fakeRuntime, { mode: 0o755 })
  const logPath = path.join(base, 'c.log')
  const { log, ...change } = options.change ?? {}
  const spec: MonitorSpec = {
    id: path.basename(base),
    directory,
    runtime: { name: 'fake', path: runtimePath, args: [], root: base, hideUnified: false, sealed: false },
    task: { kind: 'container', bundle },
    terminal: false,
    columns: 0,
    rows: 0,
    openStdin: false,
    stdinOnce: false,
    log: { driver: 'json-file', path: logPath, maxSize: 0, maxFile: 1, attrs: '', ...log },
    monitorCgroups: [],
    memoryCgroup: '',
    blockOnSlowClient: false,
    ...change,
  }
  return { directory, bundle, logPath, spec, binary: options.binary ?? monitorBinary(), undo }
}

export interface Watched {
  client: MonitorClient
  exited: Promise<ExitRecord>
  closed: Promise<void>
}

/** Launches the rig's monitor; it is released and gone before the test ends. */
export const launch = async (
  rig: Rig,
  events: Partial<MonitorEvents> = {},
  parent?: MonitorClient,
): Promise<Watched> => {
  const exited = Promise.withResolvers<ExitRecord>()
  const closed = Promise.withResolvers<void>()
  const env: Record<string, string> = rig.binary.endsWith('-asan')
    ? {
        ASAN_OPTIONS: `log_path=${rig.directory}/asan:detect_leaks=0`,
        UBSAN_OPTIONS: `log_path=${rig.directory}/asan`,
      }
    : {}
  const client = await launchMonitor(rig.spec, {
    binary: rig.binary,
    env,
    parent,
    events: {
      ...events,
      exited: record => {
        events.exited?.(record)
        exited.resolve(record)
      },
      closed: () => {
        events.closed?.()
        closed.resolve()
      },
    },
  })
  rig.undo.push(
    () => checkSanitizer(rig),
    () => endMonitor(client),
  )
  return { client, exited: exited.promise, closed: closed.promise }
}

/** Ends a monitor and what it runs, whatever state a failed test left it in. */
const endMonitor = (client: MonitorClient): void => {
  client.close()
  const { pid } = client.status
  if (pid > 0) killQuietly(pid)
  killQuietly(client.pid)
}

const killQuietly = (pid: number): void => {
  try {
    /* Our monitors and their processes only: a number that now is another program's is left alone. */
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    if (command.includes('berth-monitor')) process.kill(pid, 'SIGKILL')
  } catch (error) {
    /* It has ended by itself, perhaps between these two lines. */
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ESRCH')) throw error
  }
}

/** The client's end of an attached connection. */
export class TestClient {
  readonly socket: Socket
  #bytes: Buffer[] = []
  readonly ended: Promise<void>

  constructor(fd: number) {
    this.socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true } as never)
    this.socket.setMaxListeners(0)
    this.socket.on('data', chunk => this.#bytes.push(Buffer.from(chunk)))
    this.socket.on('error', () => {})
    this.ended = new Promise(resolve => {
      this.socket.once('end', resolve)
      this.socket.once('close', () => resolve())
    })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#bytes)
  }

  get text(): string {
    return this.bytes.toString('utf8')
  }

  /** Resolves once what came holds this text. */
  async until(text: string): Promise<void> {
    while (!this.text.includes(text)) {
      if (this.socket.destroyed || this.socket.readableEnded)
        throw new Error(`the stream ended without ${JSON.stringify(text)}: ${JSON.stringify(this.text)}`)
      await new Promise<void>(resolve => {
        this.socket.once('data', () => resolve())
        this.socket.once('close', () => resolve())
        this.socket.once('end', () => resolve())
      })
    }
  }
}

const plain: Omit<AttachRequest, 'fd'> = {
  stdin: true,
  stdout: true,
  stderr: true,
  multiplexed: false,
  pending: new Uint8Array(),
  detachKeys: new Uint8Array(),
}

/** Attaches a new client; `paused` leaves its bytes in the kernel until `socket.resume()`. */
export const attachClient = async (
  t: TestContext,
  client: MonitorClient,
  change: Partial<AttachRequest> = {},
): Promise<TestClient> => {
  const [ours, theirs] = socketPair()
  const testClient = new TestClient(ours)
  t.after(() => testClient.socket.destroy())
  await client.attach({ ...plain, ...change, fd: theirs })
  closeDescriptor(theirs)
  return testClient
}

/** One side of the multiplexed stream: 1 is stdout, 2 is stderr. */
export const unframe = (bytes: Buffer): { 1: string; 2: string } => {
  const texts = { 1: [] as Buffer[], 2: [] as Buffer[] }
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4)
    const stream = bytes[at] === 2 ? 2 : 1
    texts[stream].push(bytes.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  return { 1: Buffer.concat(texts[1]).toString('utf8'), 2: Buffer.concat(texts[2]).toString('utf8') }
}

export interface LogLine {
  log: string
  stream: string
  time: string
  attrs?: Record<string, string>
}

export const readLog = (file: string): LogLine[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as LogLine)

/** Throws what a sanitizer wrote, if any did. */
const checkSanitizer = (rig: Rig): void => {
  const reports = execFileSync('sh', ['-c', `cat ${rig.directory}/asan* 2>/dev/null || true`], {
    encoding: 'utf8',
  })
  if (reports !== '') throw new Error(reports)
}
