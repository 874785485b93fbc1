import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import {
  BerthError,
  badRequest,
  conflict,
  hasCode,
  internal,
  messageOf,
  notFound,
} from '../../core/errors.ts'
import { removeTree } from '../../linux/removeTree.ts'
import type { RuntimeBinary } from '../../runtime/types.ts'
import { syncDirectory, UNFINISHED, unfinishedName } from '../../store/durable.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { criuFolder, lastWords, withCriuAdvice } from './checkpointFailure.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { endingOf, noteEnding } from './ends.ts'
import { containerDirectory } from './logConfig.ts'
import { notRunning } from './notRunning.ts'
import { runDirectory, settleExit } from './state.ts'
import { exitWithin } from './stop.ts'

/**
 * The memory and state of a container's processes, written by the OCI runtime
 * with CRIU into `<name>/` below the container's `checkpoints/`, or below a
 * folder that the caller names. While it is written it is `.new-*`, which no
 * checkpoint can be called, so what an interruption leaves is never taken for one.
 */

const run = promisify(execFile)

const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** Milliseconds for the monitor to see the end of processes that CRIU has killed. */
const exitPatience = 10_000

/** Errors: `bad-request`. */
export const checkCheckpointName = (name: string): void => {
  if (!nameForm.test(name) || name.endsWith('.'))
    throw badRequest(
      `invalid checkpoint ID ${JSON.stringify(name)}, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    )
}

const folderOf = (engine: Engine, container: Container, directory: string): string => {
  if (directory !== '' && !path.isAbsolute(directory))
    throw badRequest(`checkpoint directory ${JSON.stringify(directory)} must be an absolute path`)
  return directory || path.join(containerDirectory(engine.settings.dataRoot, container.id), 'checkpoints')
}

const isFolder = (file: string): boolean | undefined =>
  statSync(file, { throwIfNoEntry: false })?.isDirectory()

/** The folder of one that is there. Errors: 500, as Docker, where there is none. */
const existing = (folder: string, { name, reference }: { name: string; reference: string }): string => {
  const image = path.join(folder, name)
  const found = isFolder(image)
  if (found === undefined) throw internal(`checkpoint ${name} does not exist for container ${reference}`)
  if (!found) throw internal(`${image} exists and is not a directory`)
  return image
}

/** Where a start by `docker start --checkpoint` reads. Errors: 500 where there is none of this name. */
export const checkpointOf = (engine: Engine, container: Container, name: string): string =>
  existing(folderOf(engine, container, ''), { name, reference: container.record.name })

const checkFree = (image: string, { name, reference }: { name: string; reference: string }): void => {
  const found = isFolder(image)
  if (found) throw internal(`checkpoint with name ${name} already exists for container ${reference}`)
  if (found === false) throw internal(`${image} exists and is not a directory`)
}

interface Dump {
  runtime: RuntimeBinary
  /** Where the image goes. */
  image: string
  /** Where CRIU works and writes its log. */
  work: string
  exit: boolean
}

/** Settles when the runtime is done. It is never killed: CRIU, cut off, would leave its own code in the container's processes. */
const dump = async (container: Container, { runtime, image, work, exit }: Dump): Promise<void> => {
  const paths = ['--image-path', image, '--work-path', work]
  const leave = exit ? [] : ['--leave-running']
  const global = [...runtime.args, '--root', runtime.root]
  try {
    await run(runtime.path, [...global, 'checkpoint', ...paths, ...leave, container.id])
  } catch (error) {
    const words = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
    throw new BerthError(
      'checkpoint-failed',
      500,
      withCriuAdvice(runtime, lastWords(work, words || messageOf(error))),
      { cause: error },
    )
  }
}

/** An end that the dump brings is somebody's doing, which no restart policy undoes. Returns what takes that back. */
const noteExit = async (engine: Engine, container: Container, operation: Operation): Promise<() => void> => {
  const { record } = container
  const { ending } = record
  const before = record.state.stoppedByCall
  noteEnding(container, endingOf(operation, 9))
  record.state.stoppedByCall = true
  await engine.containers.save(container)
  return () => {
    if (ending) record.ending = ending
    else delete record.ending
    record.state.stoppedByCall = before
  }
}

export interface CheckpointRequest {
  name: string
  /** Instead of the container's own folder; empty for that. */
  directory: string
  /** End the container with it. */
  exit: boolean
  /** As the client called the container. */
  reference: string
}

const write = async (
  engine: Engine,
  container: Container,
  { request, operation }: { request: CheckpointRequest; operation: Operation },
): Promise<void> => {
  const runtime = engine.settings.runtimes.get(container.record.hostConfig.Runtime ?? '')
  if (!runtime) throw notRunning(container)
  const folder = folderOf(engine, container, request.directory)
  const image = path.join(folder, request.name)
  checkFree(image, request)
  operation.commit('the OCI runtime is writing the checkpoint')
  operation.step = 'waiting for the OCI runtime to write it'
  const staged = path.join(folder, unfinishedName())
  const work = path.join(runDirectory(engine, container), criuFolder)
  mkdirSync(staged, { recursive: true, mode: 0o700 })
  mkdirSync(work, { recursive: true, mode: 0o700 })
  const takeBack = request.exit ? await noteExit(engine, container, operation) : undefined
  try {
    await dump(container, { runtime, image: staged, work, exit: request.exit })
    checkFree(image, request)
    renameSync(staged, image)
    await syncDirectory(folder)
  } catch (error) {
    await rm(staged, { recursive: true, force: true })
    takeBack?.()
    if (takeBack) await engine.containers.save(container).catch(() => {})
    throw error
  } finally {
    removeTree(work)
  }
}

/**
 * `POST /containers/{id}/checkpoints`. Errors: 400 for the name, 409 where it
 * does not run, 500 where there is one of this name or the runtime refuses; the
 * container then runs on.
 */
export const createCheckpoint = (
  engine: Engine,
  container: Container,
  { request, operation }: { request: CheckpointRequest; operation: Operation },
): Promise<void> =>
  container.queue.run(async () => {
    await settleExit(engine, container)
    if (!container.isRunning) throw notRunning(container)
    try {
      await write(engine, container, { request, operation })
    } catch (error) {
      if (hasCode(error, 'conflict')) throw error
      throw internal(`cannot checkpoint container ${request.reference}: ${messageOf(error)}`, error)
    }
    if (request.exit) await exitWithin(container, exitPatience)
    containerEvent(engine, container, 'checkpoint')
  }, operation.signal)

/** Names of the checkpoints, in order. Errors: 404 and 400 for a folder that the caller named. */
export const listCheckpoints = (
  engine: Engine,
  container: Container,
  { directory, reference }: { directory: string; reference: string },
): string[] => {
  const folder = folderOf(engine, container, directory)
  if (!existsSync(folder)) {
    if (directory === '') return []
    throw notFound(
      `checkpoint directory ${JSON.stringify(folder)} does not exist for container ${reference}: no such file or directory`,
    )
  }
  if (!isFolder(folder))
    throw badRequest(`checkpoint directory ${JSON.stringify(folder)} exists but is not a directory`)
  return readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && !entry.name.startsWith(UNFINISHED))
    .map(entry => entry.name)
    .sort()
}

/** `DELETE /containers/{id}/checkpoints/{name}`. Errors: 500, as Docker, where there is none; 409 while a start reads it. */
export const removeCheckpoint = async (
  engine: Engine,
  container: Container,
  { name, directory, reference }: { name: string; directory: string; reference: string },
): Promise<void> => {
  const folder = folderOf(engine, container, directory)
  const image = existing(folder, { name, reference })
  if (container.starting) throw conflict(`container ${reference} is being started; wait until it runs`)
  const going = path.join(folder, unfinishedName())
  renameSync(image, going)
  await rm(going, { recursive: true, force: true })
}
