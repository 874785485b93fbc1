import { setImmediate } from 'node:timers/promises'
import type { TaskControl } from '../../../archive/layer.ts'
import type { StackLayer } from '../../../archive/merged.ts'
import { MergedTree } from '../../../archive/mergedTree.ts'
import { type ByteString, joinPath } from '../../../archive/paths.ts'
import { isDirectory } from '../../../linux/stat.ts'
import { copyAction } from '../../plan/context.ts'
import { type FileTaskResult, task as fileTask } from './fileTask.ts'
import { Target } from './target.ts'

/** Several layers as one over what lies below them, as a worker does it. */
export interface SquashTask {
  /** What is written to, and the layers that it lies over without showing them, bottom first. */
  target: { root: string; below: readonly StackLayer[]; linked: readonly number[] }
  /** What the target lies over, bottom first. */
  below: readonly StackLayer[]
  /** What becomes one, bottom first. */
  added: readonly StackLayer[]
}

const isFolder = (tree: MergedTree, path: ByteString): boolean => {
  const stat = path === '' || tree.stat(path)
  return stat === true || (stat !== undefined && isDirectory(stat))
}

/** What was there below and is not any more; looked for only where something was changed. */
function* goneFrom(
  { added, below, all }: Record<'added' | 'below' | 'all', MergedTree>,
  path: ByteString,
): Generator<ByteString | undefined> {
  yield undefined
  if (!isFolder(below, path)) return
  for (const name of below.names(path)) {
    const here = joinPath(path, name)
    if (!all.stat(here)) yield here
  }
  for (const name of added.names(path)) {
    const here = joinPath(path, name)
    if (isFolder(added, here)) yield* goneFrom({ added, below, all }, here)
  }
}

const removeGone = async ({ target, below, added }: SquashTask, control: TaskControl): Promise<void> => {
  using to = new Target(target.root, target.below)
  using trees = new DisposableStack()
  const [lower, upper, all] = [below, added, [...below, ...added]].map(layers =>
    trees.use(new MergedTree(layers)),
  ) as [MergedTree, MergedTree, MergedTree]
  let count = 0
  for (const path of goneFrom({ added: upper, below: lower, all }, '')) {
    if (path !== undefined) to.remove(path)
    if (++count % 256 !== 0) continue
    await setImmediate()
    control.check()
  }
}

const copyAll = copyAction({
  ...{ from: 0, source: '/', destination: '/', contentsOnly: true, createDestination: true },
  ...{ allowEmpty: true, replace: true },
})

export const task = async (input: SquashTask, control: TaskControl): Promise<FileTaskResult> => {
  await removeGone(input, control)
  const inputs = [{ layers: input.added, isShareable: false, ref: 'the layers of the build' }]
  return await fileTask({ target: input.target, inputs, actions: [copyAll] }, control)
}
