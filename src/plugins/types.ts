/**
 * Plugins of Docker's first protocol: programs of their own that serve HTTP on
 * a socket, found by name in folders. Vocabulary:
 *
 * - **plugin**: a program that was found and activated: it has told what it implements.
 * - **kind**: what it implements: `VolumeDriver`, `LogDriver`, `authz`.
 * - **call**: `POST /Kind.Method`, JSON both ways.
 */
export type PluginKind = 'VolumeDriver' | 'LogDriver' | 'authz'

/** Where plugins are looked for. */
export interface PluginFolders {
  /** Of sockets: `NAME.sock`, `NAME/NAME.sock`. */
  sockets: string
  /** Of `NAME.spec` and `NAME.json`, in the order in which they win. */
  specs: string[]
}

/** As the file of a plugin has it. */
export interface PluginTls {
  InsecureSkipVerify?: boolean
  CAFile?: string
  CertFile?: string
  KeyFile?: string
}

/** Where a plugin listens. `url` is `unix://`, `tcp://`, `http://` or `https://`. */
export interface PluginAddress {
  url: string
  tls?: PluginTls
}

export interface CallOptions {
  signal?: AbortSignal
  /** Milliseconds that an answer may take. */
  deadline: number
  /** Tries again for half a minute where nobody listens; else it fails at once. */
  patient?: boolean
}

/** Errors of all calls: `plugin-unreachable` where no answer came, `plugin-error` for an answer that is one. */
export interface Plugin {
  readonly name: string
  /** One call. The answer's `Err` is thrown as an error. */
  call<T>(method: string, args: object, options: CallOptions): Promise<T>
}
