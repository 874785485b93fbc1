import { spawn } from 'node:child_process'
import { BerthError } from '../../../core/errors.ts'

/** The host's git, which reads no configuration of the host, runs nothing of a repository, and asks nobody. */

export interface GitSetting {
  signal: AbortSignal
  /** Hears what git says meanwhile. */
  output?: ((bytes: Uint8Array) => void) | undefined
  /** For headers that authorize: `-c` and its value. Never shown. */
  secretArgs?: readonly string[] | undefined
  sshSocket?: string | undefined
  /** File with the keys of hosts; without one any host is believed. */
  knownHostsFile?: string | undefined
}

export interface GitPlace {
  gitDirectory?: string
  workTree?: string
}

const proxyVariables = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap(name => [
  name,
  name.toLowerCase(),
])

const environment = ({ sshSocket, knownHostsFile }: GitSetting): NodeJS.ProcessEnv => {
  const hosts = knownHostsFile ? `UserKnownHostsFile=${knownHostsFile}` : 'StrictHostKeyChecking=no'
  const proxies = proxyVariables.flatMap(name => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    PATH: process.env['PATH'],
    GIT_TERMINAL_PROMPT: '0',
    GIT_SSH_COMMAND: `ssh -F /dev/null -o ${hosts}`,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    HOME: '/dev/null',
    LC_ALL: 'C',
    ...Object.fromEntries(proxies),
    ...(sshSocket === undefined ? {} : { SSH_AUTH_SOCK: sshSocket }),
  }
}

/** `protocol.file`: no repository may have the host's own as a submodule. */
const fixed = ['-c', 'protocol.file.allow=user', '-c', 'core.hooksPath=/dev/null', '-c', 'init.templateDir=']

/** Modes of files are the same whatever the daemon's own mask is. */
const start = 'umask 022 && exec git "$@"'
/** The shell's exit code for a program that is not there. */
const NOT_FOUND = 127

/** Most bytes of each stream that are kept: the first of what it answers, the last of what it says. */
const KEPT = 1 << 20

const missing = (): Error =>
  new BerthError(
    'git-missing',
    500,
    'cannot fetch a git repository: there is no git on this host. Install it, or give the files in another way',
  )

/**
 * Runs git to its end and gives what it answers. Errors: `git-missing`, `git-failed` with its own words, the signal's
 * reason, after which nothing of it runs.
 */
export const git = (setting: GitSetting, place: GitPlace, args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const { signal, output, secretArgs = [] } = setting
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const all = [
      ...fixed,
      ...(place.workTree === undefined ? [] : ['--work-tree', place.workTree]),
      ...(place.gitDirectory === undefined ? [] : ['--git-dir', place.gitDirectory]),
      ...secretArgs,
      ...args,
    ]
    const child = spawn('/bin/sh', ['-c', start, 'sh', ...all], {
      cwd: place.workTree ?? '/',
      env: environment(setting),
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its helpers end with it: they are one group.
      detached: true,
    })
    const end = (): void => {
      if (child.pid !== undefined) kill(-child.pid)
    }
    signal.addEventListener('abort', end, { once: true })
    let answer = ''
    let said = ''
    child.stdout?.on('data', (bytes: Buffer) => {
      if (answer.length < KEPT) answer += bytes.toString('utf8')
    })
    child.stderr?.on('data', (bytes: Buffer) => {
      output?.(bytes)
      said = (said + bytes.toString('utf8')).slice(-KEPT)
    })
    child.on('error', error => {
      signal.removeEventListener('abort', end)
      reject(error)
    })
    child.on('close', code => {
      signal.removeEventListener('abort', end)
      if (signal.aborted) reject(signal.reason)
      else if (code === 0) resolve(answer)
      else if (code === NOT_FOUND) reject(missing())
      else reject(new BerthError('git-failed', 500, `git stderr:\n${said.trim()}`))
    })
  })

const kill = (group: number): void => {
  try {
    process.kill(group, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
