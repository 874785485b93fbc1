/**
 * A client's connection taken out of HTTP, so that it can be given to a monitor.
 * Until it is given away, `write` and `end` speak to the client from here.
 */
export interface RawClient {
  /** The descriptor to pass on; stays ours until `release`. */
  readonly fd: number
  /** What the client had already sent past its request. */
  readonly pending: Uint8Array
  /** Settles when the bytes are on their way, or the client is gone. */
  write(bytes: string | Uint8Array): Promise<void>
  end(): void
  /** Closes our copy without a shutdown: the connection lives on where the descriptor was sent. */
  release(): void
  /** Whether the client has left, which `onGone` does not see while nothing is read or written. */
  readonly isGone: boolean
  /** Calls back once if the client leaves before `release`. */
  onGone(listener: () => void): void
}
