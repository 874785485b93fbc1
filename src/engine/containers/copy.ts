import path from 'node:path'
import { extractTree, packTree } from '../../archive/trees.ts'
import { untilAborted } from '../../core/abort.ts'
import { BerthError, badRequest, hasCode, internal, messageOf, notFound } from '../../core/errors.ts'
import { O_DIRECTORY, O_RDONLY, openIn, owned } from '../../linux/files.ts'
import { isDirectory } from '../../linux/stat.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { volumesOf } from '../volumes/users.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { absolutePath, followLinks, lastElement, type PathStat, pathStat, statInside } from './pathStat.ts'
import { descriptorPath, type RootView, withLayerView, withRootView } from './rootView.ts'
import type { ContainerRecord } from './types.ts'
import { containerUser } from './userFiles.ts'

/** `docker cp`: archives out of a container's tree and into it. */

export interface CopyPlace {
  /** The container as the client named it, for messages. */
  reference: string
  path: string
}

const words: Record<string, string> = {
  ENOTDIR: 'not a directory',
  ELOOP: 'too many levels of symbolic links',
  EACCES: 'permission denied',
  ENAMETOOLONG: 'file name too long',
  EROFS: 'read-only file system',
  ENOSPC: 'no space left on device',
}

/** Errors of the file system in Docker's words. */
const explained = (error: unknown, place: CopyPlace): unknown => {
  if (hasCode(error, 'ENOENT') || hasCode(error, 'not-found'))
    return notFound(`Could not find the file ${place.path} in container ${place.reference}`)
  if (error instanceof BerthError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return words[code] ? internal(`lstat ${place.path}: ${words[code]}`, error) : error
}

const explaining = async <T>(place: CopyPlace, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    throw explained(error, place)
  }
}

/** `HEAD /containers/{id}/archive`. Errors: 404 where nothing is there. */
export const statPath = (
  engine: Engine,
  container: Container,
  { place, operation }: { place: CopyPlace; operation: Operation },
): Promise<PathStat> =>
  explaining(place, () =>
    withRootView(engine, container, {
      operation,
      use: async view => pathStat(view.fd, absolutePath(place.path)),
    }),
  )

const openDirectory = (root: number, name: string): { fd: number } & Disposable =>
  owned(openIn(root, name, { flags: O_RDONLY | O_DIRECTORY }))

/** The tree as an archive: a directory with its own name on top, a file alone. Its parent is opened first, then only names below it. */
async function* packed(
  engine: Engine,
  view: RootView,
  request: { name: string; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  const { name, signal } = request
  const whole = isDirectory(statInside(view.fd, name))
  using directory = openDirectory(view.fd, whole ? name : path.posix.dirname(name))
  const root = descriptorPath(directory.fd)
  const base = lastElement(name)
  yield* packTree(engine.pool, { root, path: whole ? '' : base, as: base, maps: view.maps, signal })
}

interface CopyOut {
  place: CopyPlace
  operation: Operation
  send: (stat: PathStat, archive: AsyncIterable<Buffer>) => Promise<void>
}

const isBelow = (directory: string, name: string): boolean =>
  directory === '/' || name === directory || name.startsWith(`${directory}/`)

/** Where a running container shows the kernel instead of files: nothing there can be archived. */
const kernelPlaces = ['/proc', '/sys', '/dev']

const holdsKernelPlaces = (absolute: string): boolean => kernelPlaces.some(place => isBelow(absolute, place))

/**
 * `GET /containers/{id}/archive`: gives `send` what is there and its archive.
 * The archive must be read, or given up, before `send` settles.
 */
export const copyOut = async (engine: Engine, container: Container, request: CopyOut): Promise<void> => {
  const { place, operation } = request
  const { signal } = operation
  const name = absolutePath(place.path)
  const use = async (view: RootView): Promise<void> => {
    const stat = pathStat(view.fd, name)
    // As Docker, before it is sent: a client that has all it wants may be gone before the end.
    containerEvent(engine, container, 'archive-path')
    await request.send(stat, packed(engine, view, { name, signal }))
  }
  await explaining(place, async () => {
    const done = await withRootView(engine, container, {
      operation,
      use: async view => {
        if (holdsKernelPlaces(followLinks(view.fd, name))) return false
        await use(view)
        return true
      },
    })
    if (!done) await withLayerView(engine, container, { mounts: true, operation, use })
  })
}

/** Errors: `bad-request` where the place is on a mount or root that is read-only for the container. */
const checkWritable = (record: ContainerRecord, absolute: string): void => {
  const [mount] = record.mounts
    .filter(({ destination }) => isBelow(destination, absolute))
    .sort((a, b) => b.destination.length - a.destination.length)
  if (mount?.readWrite) return
  if (mount) throw badRequest('mounted volume is marked read-only')
  if (record.hostConfig.ReadonlyRootfs) throw badRequest('container rootfs is marked read-only')
}

const overwriting = /^cannot overwrite (directory|non-directory) "(.*)" with (directory|non-directory)$/

/** The extractor knows paths below its root only; users are told whole ones. */
const inContainer = (error: unknown, directory: string): unknown => {
  const match = overwriting.exec(messageOf(error))
  if (!match) return error
  const [, there, name = '', coming] = match
  const whole = path.posix.join(directory, name)
  return badRequest(`cannot overwrite ${there} "${whole}" with ${coming} "${directory}"`, error)
}

export interface CopyInOptions {
  /** An archive, compressed or not. */
  source: AsyncIterable<Uint8Array>
  /** A directory may not take the place of another kind, nor the other way round. */
  noOverwriteDirNonDir: boolean
  /** Everything gets the container's user for its owner. */
  copyUIDGID: boolean
  operation: Operation
}

const extract = async (
  engine: Engine,
  container: Container,
  request: { view: RootView; name: string; options: CopyInOptions },
): Promise<void> => {
  const { view, options } = request
  const { record } = container
  const absolute = followLinks(view.fd, request.name)
  if (!isDirectory(statInside(view.fd, absolute))) throw badRequest('extraction point is not a directory')
  checkWritable(record, absolute)
  const user =
    options.copyUIDGID && record.config.User
      ? containerUser(descriptorPath(view.fd), record.config.User, [])
      : undefined
  using directory = openDirectory(view.fd, absolute)
  try {
    await extractTree(engine.pool, {
      root: descriptorPath(directory.fd),
      path: '',
      source: untilAborted(options.operation.signal, options.source),
      noOverwriteDirNonDir: options.noOverwriteDirNonDir,
      maps: view.maps,
      signal: options.operation.signal,
      ...(user ? { owner: { uid: user.uid, gid: user.gid } } : {}),
    })
  } catch (error) {
    throw inContainer(error, absolute)
  }
}

/**
 * `PUT /containers/{id}/archive`. Errors: 404 where the directory is not
 * there, 400 where it is none, may not be written, or the archive is wrong.
 */
export const copyIn = (
  engine: Engine,
  container: Container,
  place: CopyPlace,
  options: CopyInOptions,
): Promise<void> =>
  explaining(place, async () => {
    try {
      await withRootView(engine, container, {
        operation: options.operation,
        use: view => extract(engine, container, { view, name: absolutePath(place.path), options }),
      })
    } finally {
      for (const name of volumesOf(container)) engine.volumeUsage.touch(name)
    }
    containerEvent(engine, container, 'extract-to-dir')
  })
