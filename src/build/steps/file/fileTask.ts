import { setImmediate } from 'node:timers/promises'
import type { TaskControl } from '../../../archive/layer.ts'
import type { StackLayer } from '../../../archive/merged.ts'
import { MergedTree } from '../../../archive/mergedTree.ts'
import { owned } from '../../../linux/files.ts'
import type { FileAction, InputIndex, Owner } from '../../graph/types.ts'
import { makeDirectory, makeFile, remove } from './actions.ts'
import { type CopyAction, copy } from './copy.ts'
import { Links } from './links.ts'
import { makeDirectories } from './makeDirectories.ts'
import { type Ids, idsOf } from './owner.ts'
import { Target } from './target.ts'
import { openArchive, unpackFile } from './unpack.ts'

/** A FileOperation, as a worker does it. */
export interface FileTask {
  /** What is written to, and the layers that it lies over without showing them, bottom first. */
  target: { root: string; below: readonly StackLayer[]; linked: readonly number[] }
  inputs: readonly FileTaskInput[]
  actions: readonly FileAction[]
}

export interface FileTaskInput {
  layers: readonly StackLayer[]
  isShareable: boolean
  ref: string
}

/** Inodes that lie in an input, too. */
export interface FileTaskResult {
  linked: readonly number[]
}

/** Milliseconds between two looks at whether the work is to end. */
const STEP = 20

class FileWork implements Disposable {
  readonly #task: FileTask
  readonly #control: TaskControl
  readonly #target: Target
  readonly #trees = new Map<number | undefined, MergedTree>()
  readonly #ways = { clones: true, ranges: true }
  readonly links: Links

  constructor(task: FileTask, control: TaskControl) {
    this.#task = task
    this.#control = control
    this.#target = new Target(task.target.root, task.target.below)
    this.links = new Links(new Set(task.target.linked))
  }

  [Symbol.dispose](): void {
    for (const tree of this.#trees.values()) tree[Symbol.dispose]()
    this.#target[Symbol.dispose]()
  }

  async run(action: FileAction): Promise<void> {
    if (action.kind === 'copy') await this.#copy(action)
    else if (action.kind === 'makeDirectory') makeDirectory(this.#target, action, this.#idsOf(action.owner))
    else if (action.kind === 'makeFile') makeFile(this.#target, action, this.#idsOf(action.owner))
    else remove(this.#target, action)
  }

  async #copy(action: CopyAction): Promise<void> {
    const input = action.from === undefined ? undefined : this.#task.inputs[action.from]
    const owner = this.#idsOf(action.owner)
    this.links.isShareable = input?.isShareable ?? false
    const source = this.#tree(action.from)
    const steps = copy(action, {
      source,
      target: this.#target,
      links: this.links,
      ways: this.#ways,
      owner,
      ref: input?.ref ?? 'scratch',
      unpack: (from, to) => this.#unpack({ source, from, to, owner }),
    })
    let looked = performance.now()
    for await (const _ of steps) {
      if (performance.now() - looked < STEP) continue
      await setImmediate()
      this.#control.check()
      looked = performance.now()
    }
  }

  async #unpack({ source, from, to, owner }: Unpacking): Promise<boolean> {
    const archive = await openArchive(from === '' ? undefined : source.open(from))
    if (archive === undefined) return false
    using opened = owned(archive)
    makeDirectories(this.#target, to, { mode: 0o755, owner })
    await unpackFile(opened.fd, this.#target.directory(to), { owner, control: this.#control })
    return true
  }

  #tree(index: InputIndex): MergedTree {
    const known = this.#trees.get(index)
    if (known) return known
    const tree = new MergedTree((index === undefined ? undefined : this.#task.inputs[index]?.layers) ?? [])
    this.#trees.set(index, tree)
    return tree
  }

  #idsOf(owner: Owner | undefined): Ids | undefined {
    if (!owner) return undefined
    return idsOf(owner, owner.names === 'base' ? this.#target : this.#tree(owner.names))
  }
}

interface Unpacking {
  source: MergedTree
  from: string
  to: string
  owner: Ids | undefined
}

/** Does the actions one after another. Errors: BerthError in BuildKit's words, SystemError. */
export const task = async (input: FileTask, control: TaskControl): Promise<FileTaskResult> => {
  using work = new FileWork(input, control)
  for (const action of input.actions) {
    control.check()
    await work.run(action)
  }
  return { linked: work.links.linked }
}
