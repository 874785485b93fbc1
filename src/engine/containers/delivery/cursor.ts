import { type FileHandle, open } from 'node:fs/promises'

/** The place in a container's log up to which it has been delivered. */
export interface Place {
  /** Of the file. */
  sequence: number
  /** A rotated file that was shortened is another one of the same number. */
  inode: number
  offset: number
}

const width = 16
const start: Place = { sequence: 0, inode: 0, offset: 0 }

const parse = (text: string): Place => {
  const [sequence, inode, offset] = text.trim().split(/ +/).map(Number)
  const numbers = [sequence, inode, offset]
  if (!numbers.every(number => Number.isSafeInteger(number) && Number(number) >= 0)) return start
  return { sequence, inode, offset } as Place
}

const textOf = ({ sequence, inode, offset }: Place): string =>
  `${[sequence, inode, offset].map(number => String(number).padStart(width)).join(' ')}\n`

/** Beside the log, so that it goes with it. */
export const cursorPath = (log: string): string => `${log}.cursor`

/**
 * A place that is kept on the disk: a few bytes that are written over, so that a full disk does not
 * stop it. It is not synced: after a power cut more is delivered again.
 */
export class Cursor implements AsyncDisposable {
  readonly #file: FileHandle
  /** Where it is now; recorded by `record` and at the end. */
  place: Place

  private constructor(file: FileHandle, place: Place) {
    this.#file = file
    this.place = place
  }

  /** At the log's beginning where there was none. */
  static async open(log: string): Promise<Cursor> {
    const file = await open(cursorPath(log), 'r+').catch(() => open(cursorPath(log), 'w+', 0o640))
    return new Cursor(file, parse(await file.readFile('utf8')))
  }

  /** Where a daemon goes on that finds it after this one was killed. */
  async record(place: Place): Promise<void> {
    await this.#file.write(textOf(place), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.record(this.place)
    } finally {
      await this.#file.close()
    }
  }
}
