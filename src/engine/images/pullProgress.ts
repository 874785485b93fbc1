import type { Digest } from '../../oci/digest.ts'
import type { FetchState } from './fetches.ts'

/** The lines of a pull or a push, as docker's clients know them. */
export interface PullLine {
  status: string
  id?: string
  progressDetail?: { current?: number; total?: number }
  progress?: string
}

/** Lines of one layer with bytes in them come at most that often. */
const pauseMs = 100
const barWidth = 50
const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Four digits that count, in units of a thousand. */
const shownSize = (bytes: number): string => {
  let value = bytes
  let unit = 0
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000
  return `${Number(value.toPrecision(4))}${units[unit]}`
}

/** `[====>      ]  1.2MB/3.4MB` */
export const progressBar = (current: number, total: number): string => {
  if (total <= 0 || current > total) return shownSize(current).padStart(8)
  const done = Math.floor((current / total) * barWidth)
  const bar = `[${'='.repeat(done)}>${' '.repeat(barWidth - done)}]`
  return `${bar} ${shownSize(current).padStart(8)}/${shownSize(total)}`
}

/** What one client is told of one layer: bytes never go backwards, and not too often. */
export class LayerProgress {
  readonly #write: (line: PullLine) => void
  readonly #id: string
  readonly #total: number
  readonly #now: () => number
  #status = ''
  /** The latest line with bytes. */
  #stage = ''
  #most = -1
  #last = 0

  constructor(
    layer: { digest: Digest; size: number },
    write: (line: PullLine) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#write = write
    this.#id = layer.digest.slice(7, 19)
    this.#total = layer.size
    this.#now = now
  }

  say(status: string): void {
    if (status === this.#status) return
    this.#status = status
    this.#write({ status, progressDetail: {}, id: this.#id })
  }

  bytes(
    status: 'Downloading' | 'Extracting' | 'Preparing' | 'Pushing',
    current: number,
    total = this.#total,
  ): void {
    const isNew = status !== this.#status
    if (status !== this.#stage) this.#most = -1
    this.#stage = status
    const now = this.#now()
    if (current <= this.#most) return
    if (!isNew && current < total && now - this.#last < pauseMs) return
    this.#status = status
    this.#most = current
    this.#last = now
    this.#write({
      status,
      progressDetail: { current, total },
      progress: progressBar(current, total),
      id: this.#id,
    })
  }

  fetched(state: FetchState): void {
    if (state.stage === 'waiting') this.say('Waiting')
    else if (state.stage === 'verifying') this.say('Verifying Checksum')
    else if (state.stage === 'complete') this.say('Download complete')
    else if (state.stage === 'downloading') this.bytes('Downloading', state.current)
    else this.retrying(state.pause)
  }

  /** Milliseconds. */
  retrying(pause: number): void {
    const seconds = Math.max(1, Math.ceil(pause / 1000))
    this.say(`Retrying in ${seconds} second${seconds === 1 ? '' : 's'}`)
  }
}
