/** Work that an AbortSignal ends, whatever it is waiting for. */

/** Settles as `work` does, or throws the signal's reason as soon as it aborts; the work then goes on unheard. */
export const abandonable = <T>(signal: AbortSignal, work: Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const abandon = (): void => reject(signal.reason)
    if (signal.aborted) abandon()
    signal.addEventListener('abort', abandon, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
  })

/** What `source` gives, until the signal aborts: then its reason is thrown, and a source that is waiting is left at its next item. */
export async function* untilAborted<T>(signal: AbortSignal, source: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const next = await abandonable(signal, iterator.next())
      ended = next.done ?? false
      if (next.done) return
      yield next.value
    }
  } catch (error) {
    // A source that failed has ended by itself.
    ended = !signal.aborted
    throw error
  } finally {
    const left = ended ? undefined : iterator.return?.()
    if (signal.aborted) left?.catch(() => {})
    else await left
  }
}
