import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The reference implementation of the protocol: Debian's docker-registry, as `./test setup` unpacks it. */
const program = fileURLToPath(new URL('../../../.cache/clients/docker-registry', import.meta.url))

/** Why it cannot be run here; undefined where it can. */
export const lacksDistribution = existsSync(program)
  ? undefined
  : `${program} is missing (./test setup fetches it)`

export interface DistributionOptions {
  /** With an authority of clients, those need a certificate. */
  tls?: { cert: string; key: string; clientAuthority?: string }
  /** For htpasswd. */
  user?: { name: string; password: string }
  /** A token server: its address, and the certificate that its tokens are signed by (a file). */
  token?: { realm: string; service: string; issuer: string; certificate: string }
  /** File of the network namespace that it listens in; this process's unless told. */
  namespace?: string
  /** `127.0.0.1:port`; a free port of loopback unless told. */
  address?: string
  /** Where it keeps what it is given; goes with it unless told. */
  storage?: string
}

export interface Distribution extends AsyncDisposable {
  address: string
  pid: number
}

const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

/** bcrypt, the only form that the program takes. */
const hashed = (password: string): string =>
  execFileSync('perl', ['-e', 'print crypt($ARGV[0], q($2b$05$abcdefghijklmnopqrstuu))', password]).toString()

const configuration = (folder: string, address: string, options: DistributionOptions): string => {
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text)
    return path.join(folder, name)
  }
  const storage = options.storage ?? path.join(folder, 'data')
  const lines = [
    'version: 0.1',
    'log: { level: error, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${JSON.stringify(storage)} }, delete: { enabled: true } }`,
    `http: { addr: ${JSON.stringify(address)}`,
  ]
  if (options.tls) {
    const { cert, key, clientAuthority } = options.tls
    const clients = clientAuthority ? `, clientcas: [${file('clients.crt', clientAuthority)}]` : ''
    lines.push(`  , tls: { certificate: ${file('tls.crt', cert)}, key: ${file('tls.key', key)}${clients} }`)
  }
  lines.push('}')
  if (options.user) {
    const { name, password } = options.user
    const users = file('htpasswd', `${name}:${hashed(password)}\n`)
    lines.push(`auth: { htpasswd: { realm: test, path: ${users} } }`)
  }
  if (options.token) {
    const { realm, service, issuer, certificate } = options.token
    lines.push(
      `auth: { token: { realm: ${JSON.stringify(realm)}, service: ${service}, issuer: ${issuer}, rootcertbundle: ${certificate} } }`,
    )
  }
  return file('config.yml', `${lines.join('\n')}\n`)
}

/** Whether somebody in the process's network namespace listens at the port. */
const listens = (pid: number, port: number): boolean => {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return ['tcp', 'tcp6'].some(kind =>
    readFileSync(`/proc/${pid}/net/${kind}`, 'utf8')
      .split('\n')
      .some(line => {
        const [, local = '', , state] = line.trim().split(/\s+/)
        return local.endsWith(wanted) && state === '0A'
      }),
  )
}

const untilListening = async (child: ChildProcess, address: string): Promise<void> => {
  const port = Number(address.split(':').at(-1))
  for (let waited = 0; waited < 30_000; waited += 50) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`)
    if (child.pid !== undefined && listens(child.pid, port)) return
    await delay(50)
  }
  throw new Error(`docker-registry does not listen at ${address}`)
}

export const startDistribution = async (options: DistributionOptions = {}): Promise<Distribution> => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-distribution-'))
  const address = options.address ?? `127.0.0.1:${await freePort()}`
  const command = [program, 'serve', configuration(folder, address, options)]
  const [file = '', ...args] = options.namespace
    ? ['nsenter', `--net=${options.namespace}`, ...command]
    : command
  const child = spawn(file, args, { stdio: 'ignore' })
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await gone
    rmSync(folder, { recursive: true })
  }
  try {
    await untilListening(child, address)
  } catch (error) {
    await stop()
    throw error
  }
  return { address, pid: child.pid ?? 0, [Symbol.asyncDispose]: stop }
}
