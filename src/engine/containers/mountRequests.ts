import path from 'node:path'
import { badRequest, messageOf, notImplemented } from '../../core/errors.ts'
import type { HostConfig, MountRequest } from '../../wire/container.ts'
import type { MountPoint } from './types.ts'

/** What `-v`, `--mount` and `--tmpfs` ask for, decided into mount points; nothing is touched here. */

const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']
const modeGroups = [
  ['ro', 'rw'],
  ['z', 'Z'],
  propagations,
  ['nocopy', 'copy'],
  ['consistent', 'cached', 'delegated', 'default'],
]

const isMode = (text: string): boolean => {
  const parts = text.split(',')
  if (parts.some(part => !modeGroups.flat().includes(part))) return false
  return modeGroups.every(group => parts.filter(part => group.includes(part)).length <= 1)
}

const blank = (type: MountPoint['type'], destination: string): MountPoint => ({
  type,
  source: '',
  destination: path.posix.normalize(destination).replace(/(?<=.)\/$/, ''),
  readWrite: true,
  propagation: '',
  mode: '',
  name: '',
  options: [],
  nonRecursive: false,
  createSource: false,
  copyUp: false,
})

const checkTarget = (target: string): void => {
  if (path.posix.normalize(target) === '/') throw new Error("invalid specification: destination can't be '/'")
  if (!target.startsWith('/')) throw new Error(`invalid mount path: '${target}' mount path must be absolute`)
}

/** One `-v` value: `SRC:DST[:MODE]`. Errors: `bad-request` in Docker's words. */
export const parseBind = (text: string): MountPoint => {
  const invalid = (why = ''): Error =>
    badRequest(`invalid volume specification: '${text}'${why && `: ${why}`}`)
  const parts = text.split(':')
  const [source = '', destination, mode = ''] = parts
  if (source === '' || parts.length > 3) throw invalid()
  if (destination === undefined) return parseMount({ Type: 'volume', Target: source })
  if (parts.length === 2 && isMode(destination)) throw invalid()
  if (parts.length === 3 && !isMode(mode)) throw badRequest(`invalid mode: ${mode}`)
  try {
    checkTarget(destination)
  } catch (error) {
    const type = source.startsWith('/') ? 'bind' : 'volume'
    throw invalid(`invalid mount config for type "${type}": ${messageOf(error)}`)
  }
  if (!source.startsWith('/')) throw notImplemented(`a named volume (${source})`)
  const words = mode.split(',')
  return {
    ...blank('bind', destination),
    source: path.posix.normalize(source).replace(/(?<=.)\/$/, ''),
    readWrite: !words.includes('ro'),
    propagation: words.find(word => propagations.includes(word)) ?? 'rprivate',
    mode,
    createSource: true,
  }
}

const tmpfsOptions = (request: MountRequest): string[] => {
  const options: string[] = []
  const { Mode: mode, SizeBytes: size, Options: extra } = request.TmpfsOptions ?? {}
  if (request.ReadOnly) options.push('ro')
  if (mode) options.push(`mode=${mode.toString(8)}`)
  if (size) options.push(`size=${size}`)
  for (const pair of extra ?? []) {
    if (pair.length < 1 || pair.length > 2) throw new Error('invalid option array length')
    if (pair[0] !== 'exec' && pair[0] !== 'noexec') throw new Error(`invalid option: ${pair[0]}`)
    options.push(pair.join('='))
  }
  return options
}

const checkExclusive = (request: MountRequest): void => {
  const belongs = {
    BindOptions: 'bind',
    VolumeOptions: 'volume',
    TmpfsOptions: 'tmpfs',
    ImageOptions: 'image',
  } as const
  for (const [field, type] of Object.entries(belongs))
    if (request[field as keyof typeof belongs] && request.Type !== type)
      throw new Error(`cannot mix ${field} with mount type ${request.Type}`)
}

const bindMount = (request: MountRequest): MountPoint => {
  const { Source: source = '', BindOptions: options = {} } = request
  if (source === '') throw new Error('field Source must not be empty')
  if (options.Propagation && !propagations.includes(options.Propagation))
    throw new Error(`invalid propagation mode: ${options.Propagation}`)
  if (!source.startsWith('/')) throw new Error(`invalid mount path: '${source}' mount path must be absolute`)
  const { ReadOnlyNonRecursive: never, ReadOnlyForceRecursive: always } = options
  if (never && always)
    throw new Error('mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive')
  return {
    ...blank('bind', request.Target ?? ''),
    source: path.posix.normalize(source),
    readWrite: !request.ReadOnly,
    propagation: options.Propagation || 'rprivate',
    nonRecursive: options.NonRecursive ?? false,
    createSource: options.CreateMountpoint ?? false,
    ...(never ? { recursiveReadOnly: 'never' } : always ? { recursiveReadOnly: 'always' } : {}),
  }
}

const volumeMount = (request: MountRequest): MountPoint => {
  if (request.Source) throw notImplemented(`a named volume (${request.Source})`)
  if (request.VolumeOptions?.Subpath) throw new Error('must not set Subpath when using anonymous volumes')
  return {
    ...blank('volume', request.Target ?? ''),
    readWrite: !request.ReadOnly,
    copyUp: !request.VolumeOptions?.NoCopy,
  }
}

/** One `--mount` value. Errors: `bad-request` in Docker's words. */
export const parseMount = (request: MountRequest): MountPoint => {
  try {
    checkExclusive(request)
    if (!request.Target) throw new Error('field Target must not be empty')
    checkTarget(request.Target)
    if (request.Type === 'bind') return bindMount(request)
    if (request.Type === 'volume') return volumeMount(request)
    if (request.Type === 'tmpfs') {
      if (request.Source) throw new Error('field Source must not be specified')
      return {
        ...blank('tmpfs', request.Target),
        options: tmpfsOptions(request),
        readWrite: !request.ReadOnly,
      }
    }
    if (request.Type === 'image') throw notImplemented('an image mount')
    throw new Error('mount type unknown')
  } catch (error) {
    if (error instanceof Error && error.name === 'BerthError') throw error
    throw badRequest(`invalid mount config for type "${request.Type ?? ''}": ${messageOf(error)}`, error)
  }
}

const tmpfsFlags = new Set(
  `defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime diratime
  nodiratime bind rbind unbindable runbindable relatime norelatime strictatime nostrictatime`
    .split(/\s+/)
    .concat(propagations),
)
const tmpfsValues = new Set(['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol'])

const checkTmpfsOption = (option: string): void => {
  const [name = '', value] = option.split('=')
  if (value === undefined ? !tmpfsFlags.has(option) : !tmpfsValues.has(name))
    throw badRequest(`invalid tmpfs option "${name}"`)
}

const tmpfsMounts = (tmpfs: Record<string, string> | undefined): MountPoint[] =>
  Object.entries(tmpfs ?? {}).map(([destination, options]) => {
    try {
      checkTarget(destination)
    } catch (error) {
      throw badRequest(`invalid tmpfs mount: ${messageOf(error)}`, error)
    }
    const words = options === '' ? [] : options.split(',')
    for (const word of words) checkTmpfsOption(word)
    return { ...blank('tmpfs', destination), options: words.filter(word => word !== 'defaults') }
  })

/**
 * All mounts of a container, user's choice before the image's `VOLUME`s.
 * Errors: `bad-request`, with Docker's "Duplicate mount point".
 */
export const decideMounts = (
  hostConfig: HostConfig,
  volumes: Record<string, object> | undefined,
  { recursiveReadOnly }: { recursiveReadOnly: boolean },
): MountPoint[] => {
  const binds = (hostConfig.Binds ?? []).map(parseBind)
  const chosen = [
    ...(recursiveReadOnly
      ? binds
      : binds.map((mount): MountPoint => ({ ...mount, recursiveReadOnly: 'never' }))),
    ...(hostConfig.Mounts ?? []).map(parseMount),
    ...tmpfsMounts(hostConfig.Tmpfs),
  ]
  const taken = new Set<string>()
  for (const { destination } of chosen) {
    if (taken.has(destination)) throw badRequest(`Duplicate mount point: ${destination}`)
    taken.add(destination)
  }
  const anonymous = Object.keys(volumes ?? {})
    .map(destination => ({ ...blank('volume', destination), copyUp: true }))
    .filter(({ destination }) => !taken.has(destination) && destination !== '/')
  return [...chosen, ...anonymous]
}
