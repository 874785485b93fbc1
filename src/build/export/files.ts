import { writeTar } from '../../archive/writer.ts'
import { badRequest } from '../../core/errors.ts'
import type { Stat } from '../../wire/buildkit/fsutil_pb.ts'
import { folderSource } from '../session/folderSource.ts'
import { kindOf } from '../session/goFileMode.ts'
import { sendFile } from '../session/sendFile.ts'
import { sendTree } from '../session/sendTree.ts'
import type { TreeSource } from '../session/treeSender.ts'
import type { FilesOptions } from './options.ts'
import { treeMembers } from './treeMembers.ts'
import type { BuildOutcome, ExportStep, ExportTarget, PlatformResult } from './types.ts'

/** Files of a result to the client: `--output type=local` and `type=tar`. */

const nanos = 1_000_000_000n

interface OpenFiles {
  id: string
  /** The folder of this platform's files. */
  prefix: string
  source: TreeSource
}

interface Opening {
  step: ExportStep
  options: FilesOptions
  isSplit: boolean
  stack: AsyncDisposableStack
}

const openFiles = async (
  { step, options, isSplit, stack }: Opening,
  { id, tree, epoch: own }: PlatformResult,
): Promise<OpenFiles> => {
  const view = stack.use(await step.snapshots.view(await step.layersOf(tree)))
  const epoch = options.epoch ?? own
  const prefix = isSplit ? id.replaceAll('/', '_') : ''
  const source = stack.use(
    folderSource(view.root, { prefix, ...(epoch === undefined ? {} : { mtime: BigInt(epoch) * nanos }) }),
  )
  return { id, prefix, source }
}

/** Files of several platforms in one folder must not be told twice. Errors: `bad-request` in BuildKit's words. */
const refuseDoubles = (all: readonly OpenFiles[]): void => {
  const seen = new Map<string, string>()
  for (const { id, source } of all)
    for (const { path, mode } of source.entries()) {
      if (kindOf(mode) === 'directory') continue
      const name = Buffer.from(path).toString('latin1')
      const other = seen.get(name)
      if (other !== undefined)
        throw badRequest(
          `cannot overwrite ${Buffer.from(path)} from ${other} with ${id} when split option is disabled`,
        )
      seen.set(name, id)
    }
}

/** Several trees in folders of their own, as one. */
const joined = (all: readonly OpenFiles[]): TreeSource => {
  const sources = new WeakMap<Stat, TreeSource>()
  return {
    *entries() {
      for (const { source } of all.toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1)))
        for (const stat of source.entries()) {
          sources.set(stat, source)
          yield stat
        }
    },
    open: stat => {
      const source = sources.get(stat)
      if (!source) throw badRequest(`no such file was listed: ${Buffer.from(stat.path)}`)
      return source.open(stat)
    },
  }
}

const openAll = async (opening: Opening, { platforms }: BuildOutcome): Promise<OpenFiles[]> => {
  const all: OpenFiles[] = []
  for (const result of platforms) all.push(await openFiles(opening, result))
  if (!opening.isSplit && all.length > 1) refuseDoubles(all)
  return all
}

export interface FilesExport {
  options: FilesOptions
  target: ExportTarget
}

/** Into a folder of the client. Errors: those of the client. */
export const exportFolder = async (
  step: ExportStep,
  outcome: BuildOutcome,
  { options, target }: FilesExport,
): Promise<void> => {
  await using stack = new AsyncDisposableStack()
  const isSplit = options.isSplit ?? outcome.isMulti
  const all = await openAll({ step, options, isSplit, stack }, outcome)
  const { signal } = step.operation
  const to = { exporter: target.exporter }
  if (options.isWhole) {
    if (!isSplit && all.length > 1)
      throw badRequest('mode=delete with several platforms wants a folder for each: leave platform-split')
    step.say('copying files')
    return await sendTree(target.session, { ...to, source: joined(all), isWhole: true }, signal)
  }
  for (const { id, source } of all) {
    step.say(isSplit ? `copying files ${id}` : 'copying files')
    await sendTree(target.session, { ...to, source }, signal)
  }
}

/** As one archive. Errors: those of the client. */
export const exportTar = async (
  step: ExportStep,
  outcome: BuildOutcome,
  { options, target }: FilesExport,
): Promise<void> => {
  await using stack = new AsyncDisposableStack()
  const all = await openAll({ step, options, isSplit: outcome.isMulti, stack }, outcome)
  step.say('sending tarball')
  const bytes = writeTar(treeMembers(joined(all)))
  await sendFile(target.session, { exporter: target.exporter, bytes }, step.operation.signal)
}
