import path from 'node:path'
import { BerthError, badRequest, messageOf } from '../../core/errors.ts'
import type { HostConfig, MountRequest } from '../../wire/container.ts'
import { withPropagation } from './bindPropagation.ts'
import { isMode, propagations } from './mountModes.ts'
import type { MountPoint, OwnerMapping } from './types.ts'

/** What `-v`, `--mount` and `--tmpfs` ask for, decided into mount points; nothing is touched here. */

/** A place in a container as it is compared with others. */
export const cleanPlace = (place: string): string => path.posix.normalize(place).replace(/(?<=.)\/$/, '')

/** A mount of which nothing else is known yet. */
export const blankMount = (type: MountPoint['type'], destination: string): MountPoint => ({
  type,
  source: '',
  destination: cleanPlace(destination),
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

/** Of a volume without a mode Docker shows this one. */
const sharedLabel = 'z'

const volumeBind = (bind: { name: string; place: string; words: string[]; mode: string }): MountPoint => {
  const propagation = bind.words.find(word => propagations.includes(word))
  const mount = parseMount({
    Type: 'volume',
    Source: bind.name,
    Target: bind.place,
    ReadOnly: bind.words.includes('ro'),
    ...(bind.words.includes('nocopy') ? { VolumeOptions: { NoCopy: true } } : {}),
    ...(propagation ? { BindOptions: { Propagation: propagation } } : {}),
  })
  return bind.mode === '' ? mount : { ...mount, mode: bind.mode }
}

/** One `-v` value: `SRC:DST[:MODE]`. Errors: `bad-request` in Docker's words. */
export const parseBind = (text: string): MountPoint => {
  const invalid = (why = ''): Error =>
    badRequest(`invalid volume specification: '${text}'${why && `: ${why}`}`)
  const parts = text.split(':')
  const [source = '', destination, mode = ''] = parts
  if (source === '' || parts.length > 3) throw invalid()
  if (parts.length === 2 && isMode(destination ?? '')) throw invalid()
  if (parts.length === 3 && !isMode(mode)) throw badRequest(`invalid mode: ${mode}`)
  const words = mode.split(',')
  if (destination === undefined || !source.startsWith('/')) {
    const [name, place] = destination === undefined ? ['', source] : [source, destination]
    try {
      return volumeBind({ name, place, words, mode })
    } catch (error) {
      throw error instanceof BerthError && error.status === 400 ? invalid(error.message) : error
    }
  }
  try {
    checkTarget(destination)
  } catch (error) {
    throw invalid(`invalid mount config for type "bind": ${messageOf(error)}`)
  }
  return {
    ...blankMount('bind', destination),
    source: cleanPlace(source),
    readWrite: !words.includes('ro'),
    propagation: words.find(word => propagations.includes(word)) ?? '',
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
      throw new Error(`field ${field} must not be specified`)
}

const ownerMapping = (request: MountRequest): OwnerMapping | undefined => {
  const { IDMapping: wanted } = request.BindOptions ?? {}
  if (!wanted) return undefined
  const { Source: source = '', User: user = '' } = wanted
  if (source === '') throw new Error('field IDMapping.Source must not be empty')
  if (source === 'userns' && user !== '')
    throw new Error('field IDMapping.User must not be specified with IDMapping.Source "userns"')
  if (source !== 'match-user' && source !== 'userns')
    throw new Error(`invalid IDMapping.Source: ${source} (must be "match-user" or "userns")`)
  return { source, ...(user === '' ? {} : { user }) }
}

const bindMount = (request: MountRequest): MountPoint => {
  const { Source: source = '', BindOptions: options = {} } = request
  if (source === '') throw new Error('field Source must not be empty')
  if (options.Propagation && !propagations.includes(options.Propagation))
    throw new Error(`invalid propagation mode: ${options.Propagation}`)
  if (!source.startsWith('/')) throw new Error(`invalid mount path: '${source}' mount path must be absolute`)
  const { ReadOnlyNonRecursive: never, ReadOnlyForceRecursive: always } = options
  const conflict = (one: string, other: string): Error =>
    badRequest(`mount options conflict: ${one} && BindOptions.${other}`)
  if (!request.ReadOnly && never) throw conflict('!ReadOnly', 'ReadOnlyNonRecursive')
  if (!request.ReadOnly && always) throw conflict('!ReadOnly', 'ReadOnlyForceRecursive')
  if (never && always) throw conflict('ReadOnlyNonRecursive', 'ReadOnlyForceRecursive')
  const idMapping = ownerMapping(request)
  return {
    ...blankMount('bind', request.Target ?? ''),
    source: path.posix.normalize(source),
    readWrite: !request.ReadOnly,
    propagation: options.Propagation ?? '',
    nonRecursive: options.NonRecursive ?? false,
    createSource: options.CreateMountpoint ?? false,
    ...(idMapping ? { idMapping } : {}),
    ...(never ? { recursiveReadOnly: 'never' } : always ? { recursiveReadOnly: 'always' } : {}),
  }
}

/** Go's filepath.IsLocal: by its words alone it leads nowhere outside. */
const isLocal = (relative: string): boolean => {
  const clean = path.posix.normalize(relative)
  return !clean.startsWith('/') && clean !== '..' && !clean.startsWith('../')
}

const volumeMount = (request: MountRequest): MountPoint => {
  const { Source: name = '', Target: target = '', VolumeOptions: options = {} } = request
  const { Subpath: subpath = '' } = options
  if (subpath !== '' && name === '') throw new Error('must not set Subpath when using anonymous volumes')
  if (subpath !== '' && !isLocal(subpath))
    throw new Error('subpath must be a relative path within the volume')
  return {
    ...blankMount('volume', target),
    name,
    mode: sharedLabel,
    readWrite: !request.ReadOnly,
    copyUp: !options.NoCopy,
    ...(name === '' ? {} : { named: true }),
    ...(subpath === '' ? {} : { subpath }),
  }
}

const imageMount = (request: MountRequest): MountPoint => {
  const { Source: name = '', Target: target = '', ImageOptions: { Subpath: subpath = '' } = {} } = request
  if (name === '') throw new Error('field Source must not be empty')
  if (subpath !== '' && !isLocal(subpath))
    throw new Error('subpath must be a relative path within the volume')
  return {
    ...blankMount('image', target),
    name,
    readWrite: false,
    propagation: 'rprivate',
    ...(subpath === '' ? {} : { subpath }),
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
        ...blankMount('tmpfs', request.Target),
        options: tmpfsOptions(request),
        readWrite: !request.ReadOnly,
      }
    }
    if (request.Type === 'image') return imageMount(request)
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
    return { ...blankMount('tmpfs', destination), options: words.filter(word => word !== 'defaults') }
  })

export interface MountDefaults {
  /** Of a read-only bind about which nothing is said: whether mounts below it are so, too. */
  recursiveReadOnly: boolean
  /** Mounts of other containers that come with it. */
  inherited: readonly MountPoint[]
  dataRoot: string
}

/**
 * All mounts of a container: what it takes from others gives way to what its
 * user wants at the same place, and the image's `VOLUME`s give way to both.
 * Errors: `bad-request`, with Docker's "Duplicate mount point".
 */
export const decideMounts = (
  hostConfig: HostConfig,
  volumes: Record<string, object> | undefined,
  { recursiveReadOnly, inherited, dataRoot }: MountDefaults,
): MountPoint[] => {
  const binds = (hostConfig.Binds ?? []).map(parseBind)
  const chosen = [
    ...binds.map(
      (mount): MountPoint =>
        recursiveReadOnly || mount.type !== 'bind' ? mount : { ...mount, recursiveReadOnly: 'never' },
    ),
    ...(hostConfig.Mounts ?? []).map(parseMount),
    ...tmpfsMounts(hostConfig.Tmpfs),
  ].map(mount => (mount.type === 'bind' ? withPropagation(mount, dataRoot) : mount))
  const taken = new Set<string>()
  for (const { destination } of chosen) {
    if (taken.has(destination)) throw badRequest(`Duplicate mount point: ${destination}`)
    taken.add(destination)
  }
  const others = inherited.filter(({ destination }) => !taken.has(destination))
  for (const { destination } of others) taken.add(destination)
  const anonymous = Object.keys(volumes ?? {})
    .map(destination => ({ ...blankMount('volume', destination), copyUp: true }))
    .filter(({ destination }) => !taken.has(destination) && destination !== '/')
  return [...others, ...chosen, ...anonymous]
}
