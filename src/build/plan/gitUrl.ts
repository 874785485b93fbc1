import path from 'node:path'
import { notImplemented } from '../../core/errors.ts'
import type { Platform } from '../../oci/platform.ts'
import { truthOf } from '../../wire/truth.ts'
import { quote } from '../dockerfile/characters.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import type { Draft } from '../graph/draft.ts'
import type { SourceOperation } from '../graph/types.ts'
import { internalStep } from './step.ts'

/** What a text that names a git repository asks for. */
export interface GitUrl {
  remote: string
  ref: string
  subdirectory: string
  checksum?: string
  keepGitDirectory?: boolean
  submodules?: boolean
  isSsh: boolean
  /** `github.com/user/project`, which a folder may be called, too: only for contexts. */
  mayBeLocal: boolean
}

type Draftable = Omit<GitUrl, 'isSsh' | 'mayBeLocal'>

const scpForm = /^([a-zA-Z0-9-_]+@[a-zA-Z0-9-.]+:.*?)(?:\?(.*?))?(?:#(.*))?$/
const urlForm = /^([a-zA-Z0-9]+):\/\/([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/

/** With `%` replaced; undefined where that cannot be. */
export const unescaped = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const fragmentOf = (fragment = ''): { ref: string; subdirectory: string } => {
  const [ref = '', folder = ''] = (unescaped(fragment) ?? fragment).split(/:(.*)/s, 2)
  return { ref, subdirectory: path.posix.join('/', folder).replace(/^\/+|\/+$/g, '') }
}

const readSwitch = (key: string, value: string): boolean => {
  const truth = value === '' ? true : truthOf(value)
  if (truth === undefined) throw new DockerfileError(`invalid ${key} value: ${quote(value)}`)
  return truth
}

const setOnce = (url: Draftable, key: 'ref' | 'subdirectory', words: string, value: string): void => {
  if (url[key] !== '' && url[key] !== value)
    throw new DockerfileError(`${words} conflicts: ${quote(url[key])} vs ${quote(value)}`)
  url[key] = value
}

const switches = ['submodules', 'keep-git-dir', 'fetch-by-commit']

const checkTimes = (value: string): void => {
  if (value !== 'checkout' && value !== 'commit')
    throw new DockerfileError(`invalid mtime value: ${quote(value)} (must be "checkout" or "commit")`)
  if (value === 'commit') throw notImplemented('mtime=commit of git contexts')
}

const prefixed = (prefix: string, name: string): string => (name.startsWith(prefix) ? name : prefix + name)

const setters: Record<string, (url: Draftable, value: string, key: string) => void> = {
  ref: (url, value) => setOnce(url, 'ref', 'ref', value),
  tag: (url, value) => setOnce(url, 'ref', 'ref', prefixed('refs/tags/', value)),
  branch: (url, value) => setOnce(url, 'ref', 'ref', prefixed('refs/heads/', value)),
  subdir: (url, value) => setOnce(url, 'subdirectory', 'subdir', value),
  checksum: (url, value) => {
    url.checksum = value
  },
  commit: (url, value) => {
    url.checksum = value
  },
  'keep-git-dir': (url, value, key) => {
    url.keepGitDirectory = readSwitch(key, value)
  },
  submodules: (url, value, key) => {
    url.submodules = readSwitch(key, value)
  },
  mtime: (_url, value) => checkTimes(value),
  'fetch-by-commit': (_url, value, key) => {
    if (readSwitch(key, value)) throw notImplemented('fetch-by-commit of git contexts')
  },
}

const setQuery = (url: Draftable, key: string, value: string): void => {
  if (value === '' && !switches.includes(key)) throw new DockerfileError(`query ${quote(key)} has no value`)
  const set = Object.hasOwn(setters, key) ? setters[key] : undefined
  if (!set) throw new DockerfileError(`unexpected query ${quote(key)}`)
  set(url, value, key)
}

/** `ref`, `tag` and `branch` in this order, as the latter are said of the former in conflicts. */
const queryOrder = ['ref', 'tag', 'branch']

const readQuery = (url: Draftable, query: string): void => {
  const parameters = new URLSearchParams(query)
  if (parameters.has('tag') && parameters.has('branch'))
    throw new DockerfileError('branch conflicts with tag')
  const names = [...new Set(parameters.keys())].sort((a, b) => queryOrder.indexOf(a) - queryOrder.indexOf(b))
  for (const name of names) {
    const values = parameters.getAll(name)
    if (values.length > 1) throw new DockerfileError(`query ${quote(name)} has multiple values`)
    setQuery(url, name, values[0] ?? '')
  }
}

const withParts = (
  remote: string,
  { query = '', fragment = '' }: { query?: string | undefined; fragment?: string | undefined },
): Draftable => {
  const url: Draftable = { remote, ...fragmentOf(fragment) }
  readQuery(url, query)
  return url
}

/** Undefined for what names no repository: a path, the address of a file. Errors: a query that there is not. */
export const parseGitUrl = (text: string): GitUrl | undefined => {
  if (text.startsWith('./') || text.startsWith('../')) return undefined
  if (text.startsWith('github.com/')) {
    const found = urlForm.exec(`https://${text}`)
    if (!found) return undefined
    const [, , rest, query, fragment] = found
    return { ...withParts(rest ?? '', { query, fragment }), isSsh: false, mayBeLocal: true }
  }
  const found = urlForm.exec(text)
  if (found) {
    const [, scheme = '', rest = '', query, fragment] = found
    const protocol = scheme.toLowerCase()
    if (!['http', 'https', 'ssh', 'git'].includes(protocol)) return undefined
    if (protocol.startsWith('http') && !rest.endsWith('.git')) return undefined
    const remote = `${protocol}://${rest}`
    return { ...withParts(remote, { query, fragment }), isSsh: protocol === 'ssh', mayBeLocal: false }
  }
  const scp = scpForm.exec(text)
  if (!scp) return undefined
  const [, remote = '', query, fragment] = scp
  return { ...withParts(remote, { query, fragment }), isSsh: true, mayBeLocal: false }
}

/** Names of the secrets that git may be given. */
const authToken = 'GIT_AUTH_TOKEN'
const authHeader = 'GIT_AUTH_HEADER'

export const gitOperation = (url: GitUrl): Extract<SourceOperation, { kind: 'git' }> => ({
  kind: 'git',
  remote: url.mayBeLocal ? `https://${url.remote}` : url.remote,
  ref: url.ref,
  subdirectory: url.subdirectory,
  keepGitDirectory: url.keepGitDirectory ?? false,
  submodules: url.submodules ?? true,
  authToken,
  authHeader,
  ...(url.checksum ? { checksum: url.checksum } : {}),
  ...(url.isSsh ? { ssh: 'default' } : {}),
})

/** An address without a password, for messages: users are all up to the last `@` before the path. */
export const withoutPassword = (text: string): string =>
  text.replace(/(:\/\/[^/?#@:]*):[^/?#]*@/, '$1:xxxxx@')

/** A repository as a context. */
export const gitContext = (
  text: string,
  keepGitDirectory: boolean,
  platform: Platform,
): Draft | undefined => {
  const url = parseGitUrl(text)
  if (!url) return undefined
  return {
    operation: gitOperation(keepGitDirectory ? { ...url, keepGitDirectory } : url),
    inputs: [],
    platform,
    step: internalStep(`load git source ${withoutPassword(text)}`),
  }
}
