type Undo = () => void | PromiseLike<void>

/**
 * Undo actions gathered beside the actions they undo, run in reverse. `commit`
 * forgets them: what was made is kept.
 */
export class UndoStack implements AsyncDisposable {
  #undo: { name: string; run: Undo }[] = []
  readonly #onError: (name: string, error: unknown) => void

  constructor(onError: (name: string, error: unknown) => void = () => {}) {
    this.#onError = onError
  }

  push(name: string, run: Undo): void {
    this.#undo.push({ name, run })
  }

  commit(): void {
    this.#undo = []
  }

  /** Runs every undo even if one fails; a failure is reported, never thrown. */
  async unwind(): Promise<void> {
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
      try {
        await undo.run()
      } catch (error) {
        this.#onError(undo.name, error)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unwind()
  }
}

/** Takes something for as long as the result is not disposed of; what could be taken of it is given back where the rest fails. */
export const lent = async (
  take: () => Promise<void>,
  giveBack: () => void | Promise<void>,
): Promise<AsyncDisposable> => {
  try {
    await take()
  } catch (error) {
    await giveBack()
    throw error
  }
  return { [Symbol.asyncDispose]: async () => await giveBack() }
}
