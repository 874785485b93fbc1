/**
 * The processes that keep a container alive without the daemon.
 *
 * - **monitor**: `berth-monitor run`, one for each run of a container and one
 *   for each exec. It runs the OCI runtime, is the container's parent, owns its
 *   pipes or pty, writes its log, records its exit, and serves attach and wait.
 * - **holder**: `berth-monitor hold`, one for each exec-root: the descriptor
 *   store that keeps listening sockets while no daemon is there.
 * - **run directory**: `<exec-root>/containers/<id>/` (for an exec
 *   `<exec-root>/execs/<id>/`), on tmpfs: control socket, exit record, pid files.
 *
 * A monitor outlives the daemon; a new daemon connects to its control socket
 * and learns where things stand from its hello.
 */

/** How an OCI runtime is called. */
export interface RuntimeBinary {
  /** `runc`, `crun`, or the name given with --add-runtime. */
  name: string
  path: string
  /** Global arguments, before the verb. */
  args: string[]
  /** Its own state directory (`--root`). */
  root: string
  /** Start it in a private mount namespace without the unified cgroup tree (crun on hybrid hosts). */
  hideUnified: boolean
  /** Run it from a sealed copy in memory: spares crun and runc the copy that they make of themselves at each call. */
  sealed: boolean
}

export interface LogSettings {
  /** `json-file`, or `none`. */
  driver: 'json-file' | 'none'
  /** Path of the current file; rotated ones stand beside it. */
  path: string
  /** Bytes at which the file is rotated; 0 is never. */
  maxSize: number
  /** Files kept, the current one included; at least 1. */
  maxFile: number
  /** A JSON object text to put in each line as `attrs`, or empty. */
  attrs: string
}

export interface RuntimeView {
  /** A file that pins a mount namespace with nothing in it. */
  bare: string
  /** Paths of hidden mounts that the container needs; at most `broughtMax`. */
  brought: string[]
}

export const broughtMax = 32

export interface MonitorSpec {
  /** Container id, or exec id. */
  id: string
  /** The run directory; exists, empty. */
  directory: string
  runtime: RuntimeBinary
  /** What it runs: the container of a bundle, or a further process in a container. */
  task:
    | { kind: 'container'; bundle: string /** Folder of an image to go on from. */; checkpoint?: string }
    | { kind: 'exec'; containerId: string; processFile: string }
  /** Of a process in a user namespace of its own: what is done before, as nobody in there may. */
  userNamespace?: {
    /** Root in there, who is to own the pipes. */
    owner: { uid: number; gid: number }
    oomScoreAdj?: number
    /** By the kernel's numbers (getrlimit(2)): no limit is lowered. */
    hardLimits: { resource: number; hard: number | bigint }[]
  }
  terminal: boolean
  /** Initial size of the pty; zero leaves the kernel's default. */
  columns: number
  rows: number
  openStdin: boolean
  /** Stdin is closed when the first attached client that sent stdin ends it. */
  stdinOnce: boolean
  log: LogSettings
  /** cgroup directories that the monitor enters itself: one per hierarchy. */
  monitorCgroups: string[]
  /** The container's memory cgroup directory, where OOM is watched; empty to not watch. */
  memoryCgroup: string
  /** The runtime sees none of the host's hidden mounts but these; absent for all of the host's mounts. */
  view?: RuntimeView | undefined
  /** Docker's rule instead of ours: a slow attached client holds the container back even with a log. */
  blockOnSlowClient: boolean
}

/** `failed`: the runtime refused to start the process; nothing ran. */
export type RunPhase = 'new' | 'starting' | 'running' | 'exited' | 'failed'

/** Written to the run directory before anyone is told; all that is needed once the monitor is gone. */
export interface ExitRecord {
  phase: 'exited' | 'failed'
  /** Pid of the first process; 0 where none ran. */
  pid: number
  /** 0 to 255; 128+n for a signal. */
  exitCode: number
  oomKilled: boolean
  /** Nanoseconds since the epoch. */
  startedAt: bigint
  finishedAt: bigint
  /** The runtime's own words where it refused to start, at most 8 KiB. */
  error: string
}

export interface MonitorStatus {
  phase: RunPhase
  pid: number
  startedAt: bigint
  oomKilled: boolean
  exit?: ExitRecord
}

export interface AttachRequest {
  /** The client's connection. The caller closes its own copy afterwards, without shutdown. */
  fd: number
  stdin: boolean
  stdout: boolean
  stderr: boolean
  /** Frame output by Docker's 8-byte header; false for a terminal. */
  multiplexed: boolean
  /** Bytes of stdin that were already read from the client. */
  pending: Uint8Array
  /** Detach sequence; empty for none. */
  detachKeys: Uint8Array
  /** Where in the log to go on from; undefined is "from now". */
  from?: LogCursor
}

/** A position in a container's log that survives rotation. */
export interface LogCursor {
  /** Number of the file, rising by one at each rotation over the container's life. */
  sequence: number
  /** Byte offset in that file. */
  offset: number
}

export interface MonitorEvents {
  started(status: MonitorStatus): void
  /**
   * The first process is gone; its output is still drained, and `exited` follows. What is left in a cgroup
   * without a pid namespace of its own is to be killed now. Only from monitors of protocol 2 and later.
   */
  ended(): void
  exited(record: ExitRecord): void
  oom(): void
  /** The log was rotated; `sequence` is the current file's number now. */
  rotated(sequence: number): void
  /** The current file has this many bytes: told for each MiB that it has grown by. Only from monitors of protocol 4 and later. */
  logGrown(size: number): void
  /** A client left by its detach keys or its end; `detached` is true for the keys. */
  clientGone(detached: boolean): void
  /** The control connection ended: the monitor ended after an exit, or was lost. */
  closed(): void
}

/** One control connection to one monitor. */
export interface MonitorClient {
  readonly id: string
  readonly pid: number
  readonly status: MonitorStatus
  /** Runs the runtime; settles when the process runs, or with what the runtime said. */
  start(): Promise<MonitorStatus>
  /** Hands a client over; resolves when the monitor owns it. */
  attach(request: AttachRequest): Promise<void>
  /**
   * Hands over a /wait request whose response headers were already written: the
   * monitor writes `{"StatusCode":n}` and closes it, at exit for `exit`, or when
   * `removed` is called for `removed`.
   */
  wait(fd: number, condition: 'exit' | 'removed'): Promise<void>
  /** Answers the `removed` waiters. */
  removed(): Promise<void>
  resize(columns: number, rows: number): Promise<void>
  closeStdin(): Promise<void>
  /** Words for the attached clients of an exec that could not be started; they are kept until `release`. */
  say(text: string): Promise<void>
  /** False for a monitor of a version that neither tells growth nor keeps what it is told to rotate. */
  readonly tellsGrowth: boolean
  /** The rotated file stays until the next rotation, however few are to be kept, where `tellsGrowth`. */
  rotateLog(): Promise<void>
  /** False for a monitor of a version that cannot make others. */
  readonly canFork: boolean
  /**
   * Makes another monitor as this one's child, with its environment and cgroups: from a specification's
   * file, the monitor's end of a socket pair, and perhaps the runtime's sealed program, all owned by the call. Settles when there is a process.
   */
  fork(descriptors: { spec: number; control: number; program?: number | undefined }): Promise<void>
  /** Lets the monitor end, once the exit is known here and no client is left; a monitor never ends unacknowledged. */
  release(): Promise<void>
  close(): void
}

/** A descriptor kept by the holder. */
export interface HeldDescriptor {
  /** `api:unix:/run/berth/docker.sock`, `port:<container>:tcp:0.0.0.0:8080`. */
  name: string
  fd: number
}

/**
 * What the holder does with a descriptor while no daemon is there. `api`: kept for 120 s after a daemon that
 * ended without a word, or for as long as it said in `leaving`; then closed, and its unix socket unlinked.
 * `port`, `dns`: kept until dropped.
 */
export type HeldClass = 'api' | 'port' | 'dns'

export interface HeldName {
  name: string
  kind: HeldClass
}

/**
 * A connection to the holder. Calls are synchronous (some 20 µs) and throw
 * `unavailable` where the holder is gone. Names have at most 255 bytes.
 */
export interface HolderClient {
  /** The holder's process. */
  readonly pid: number
  /** Keeps a duplicate of `fd`; one of the same name is replaced. The caller keeps its own. */
  put(name: string, fd: number, kind: HeldClass): void
  /** A duplicate, owned by the caller; undefined where nothing is held under this name. The holder goes on holding. */
  take(name: string): number | undefined
  /** Duplicates of all whose names begin so, e.g. `port:<container>:`. */
  takeAll(prefix: string): HeldDescriptor[]
  list(prefix?: string): HeldName[]
  /** Dropping what is not held is no error. */
  drop(name: string): void
  dropAll(prefix: string): void
  /** For how long `api` descriptors stay once this daemon's connections have ended. */
  leaving(seconds: number): void
  close(): void
}
