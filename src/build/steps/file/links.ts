import type { ByteString } from '../../../archive/paths.ts'
import type { FileStat } from '../../../linux/stat.ts'

/** Bytes of a file from which a link is cheaper than a copy by more than it costs to remember it. */
const WORTH = 32_768
/** Most files of one step that are linked to outside. */
const MOST = 20_000

/**
 * Hard links: those within what is copied, which are made again, and those to
 * the source itself, where its files are never changed in place. Of the latter
 * no inode may come twice into what a container sees: two names would be one file there.
 */
export class Links {
  readonly #taken: Set<number>
  readonly #linked: number[] = []
  #first = new Map<string, ByteString>()
  #shares = true
  #isShareable = false

  /** `taken`: inodes that the layers below share. */
  constructor(taken: ReadonlySet<number>) {
    this.#taken = new Set(taken)
  }

  /** Inodes that lie in the source, too. */
  get linked(): readonly number[] {
    return this.#linked
  }

  /** What is copied then has files that are never changed in place. */
  set isShareable(value: boolean) {
    this.#isShareable = value
  }

  /** Links are made again within one tree only. */
  newTree(): void {
    this.#first = new Map()
  }

  /** Where another name of this inode was copied to. */
  firstOf(stat: FileStat): ByteString | undefined {
    return stat.links > 1 ? this.#first.get(keyOf(stat)) : undefined
  }

  note(stat: FileStat, path: ByteString): void {
    if (stat.links > 1) this.#first.set(keyOf(stat), path)
  }

  mayShare({ size, inode }: FileStat): boolean {
    return (
      this.#isShareable &&
      this.#shares &&
      size >= WORTH &&
      this.#linked.length < MOST &&
      !this.#taken.has(inode)
    )
  }

  shared({ inode }: FileStat): void {
    this.#taken.add(inode)
    this.#linked.push(inode)
  }

  /** Source and target are on different file systems. */
  stopSharing(): void {
    this.#shares = false
  }
}

const keyOf = ({ device, inode }: FileStat): string => `${device}:${inode}`
