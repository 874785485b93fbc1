import { Code, ConnectError } from '@connectrpc/connect'
import type { Tree } from '../../build/solver/types.ts'
import type { ContainerRequest } from '../../build/steps/exec/containerRequest.ts'
import type { StepContainer } from '../../build/steps/exec/stepContainer.ts'
import { BerthError, notFound, prefixed } from '../../core/errors.ts'

/** A container as a client asks for it: its mounts are of results, by their refs. */
export interface ContainerQuery extends Omit<ContainerRequest, 'granted' | 'inputs'> {
  /** What the mounts' inputs count. */
  refs: readonly string[]
}

export interface ContainerSource {
  /** What a ref stands for, made where nothing has needed it so far. Errors: `not-found`, those of making it. */
  treeOf(ref: string, asking: AbortSignal): Promise<Tree>
  /** `asking` gives it up while it is made. */
  make(request: Omit<ContainerRequest, 'granted'>, asking: AbortSignal): Promise<StepContainer>
}

/** The containers of one build, by their client's names for them. Disposal ends them all. */
export class BuildContainers implements AsyncDisposable {
  readonly #source: ContainerSource
  readonly #byId = new Map<string, Promise<StepContainer>>()
  #isOver = false

  constructor(source: ContainerSource) {
    this.#source = source
  }

  /** Errors: `AlreadyExists`, those of what is asked for. */
  async add(query: ContainerQuery, asking: AbortSignal): Promise<void> {
    if (this.#isOver) throw new BerthError('cancelled', 499, 'the build has ended')
    if (this.#byId.has(query.id))
      throw new ConnectError(`Container ${query.id} already exists`, Code.AlreadyExists)
    const making = this.#make(query, asking)
    this.#byId.set(query.id, making)
    try {
      await making
    } catch (error) {
      this.#byId.delete(query.id)
      throw error
    }
  }

  async #make({ refs, ...request }: ContainerQuery, asking: AbortSignal): Promise<StepContainer> {
    const inputs: Tree[] = []
    for (const [index, ref] of refs.entries()) {
      const user = request.mounts.find(mount => 'input' in mount && mount.input === index)
      try {
        inputs.push(await this.#source.treeOf(ref, asking))
      } catch (error) {
        throw prefixed(`failed to find ref ${ref} for "${user?.target ?? ''}" mount`, error)
      }
    }
    return await this.#source.make({ ...request, inputs }, asking)
  }

  /** `name`: as the error calls it. Errors: `not-found`, those of its making. */
  async get(id: string, name = id): Promise<StepContainer> {
    const found = this.#byId.get(id)
    if (!found) throw notFound(`container details for ${name} not found`)
    return await found
  }

  /** Errors: `not-found`. */
  async release(id: string): Promise<void> {
    const container = await this.get(id)
    this.#byId.delete(id)
    await container[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    const all = [...this.#byId.values()]
    this.#byId.clear()
    await Promise.all(
      all.map(async making => {
        const container = await making.catch(() => undefined)
        await container?.[Symbol.asyncDispose]()
      }),
    )
  }
}
