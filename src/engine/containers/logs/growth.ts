import { watch } from 'node:fs'
import type { Container } from '../container.ts'

/** Wakes a reader when the log grows, is rotated, or the container's run ends. */
export class Growth implements Disposable {
  #wake: () => void = () => {}
  #grown = false
  readonly #undo: () => void

  constructor(container: Container, directory: string) {
    const signal = (): void => {
      this.#grown = true
      this.#wake()
    }
    const watcher = watch(directory, signal)
    watcher.on('error', signal)
    container.exitListeners.add(signal)
    container.removeListeners.add(signal)
    this.#undo = () => {
      watcher.close()
      container.exitListeners.delete(signal)
      container.removeListeners.delete(signal)
    }
  }

  /** Settles at the next change; at once if there was one since the last call. */
  async next(signal: AbortSignal): Promise<void> {
    if (!this.#grown && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      const leave = (): void => resolve()
      signal.addEventListener('abort', leave, { once: true })
      await promise
      signal.removeEventListener('abort', leave)
    }
    this.#grown = false
  }

  [Symbol.dispose](): void {
    this.#undo()
  }
}
