/**
 * Delivery of a container's log to where its driver says: syslog, gelf, … The monitor writes the
 * same file whatever the driver is; the daemon follows it from a cursor that outlives it, and
 * delivers. A file is followed at least once: after a death what was sent last is sent again.
 */

/** A line of the log, as the container wrote it. */
export interface LogEntry {
  /** Without the newline. */
  text: string
  stream: 'stdout' | 'stderr'
  /** RFC 3339, in nanoseconds. */
  time: string
  /** Parts of a line that was too long for one entry. */
  partial?: { id: string; ordinal: number; last: boolean }
}

/** What drivers can tell of the container that a line comes from. */
export interface LogSource {
  id: string
  /** Without the slash. */
  name: string
  command: string
  imageId: string
  imageName: string
  /** RFC 3339. */
  created: string
  env: readonly string[]
  labels: Record<string, string>
  hostname: string
}

/** Files of TLS, by path. */
export interface TlsFiles {
  ca: string | undefined
  cert: string | undefined
  key: string | undefined
  verify: boolean
}

/** A connection over which messages are sent. */
export interface Wire extends Disposable {
  /** Settles when the kernel has taken them. Errors: whatever the socket says, or the signal. */
  send(messages: readonly Buffer[], signal: AbortSignal): Promise<void>
}

export interface WireOptions {
  signal: AbortSignal
  /** The other side is gone: what was sent last may not have come there. */
  onLost(error: Error): void
}

/** Where messages go to. `local-syslog` is the first of the host's usual sockets that there is. */
export type Target =
  | { kind: 'udp'; host: string; port: number }
  | { kind: 'tcp'; host: string; port: number; tls?: TlsFiles }
  | { kind: 'unix'; path: string }
  | { kind: 'unixgram'; path: string }
  | { kind: 'local-syslog' }
  /** Spoken to in a way of the driver's own. */
  | { kind: 'own'; open: (options: WireOptions) => Promise<Wire> }

/** What a driver makes of one container's lines. */
export interface Encoding {
  target: Target
  /** Messages for an entry, each a datagram where the target takes those; none for what is not sent. */
  encode(entry: LogEntry): Buffer[]
}

export type LogOptions = Readonly<Record<string, string>>

export interface LogDriver {
  /** Refuses options in Docker's words. Errors: `bad-request`. */
  check(options: LogOptions): void
  /** Errors: `bad-request`, `not-implemented` where a tag cannot be made. */
  open(source: LogSource, options: LogOptions): Encoding
}
