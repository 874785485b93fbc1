import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import { namesIn } from '../linux/files.ts'
import { removeTree } from '../linux/removeTree.ts'
import { type Digest, digestHex } from '../oci/digest.ts'
import { syncDirectory, writeDurably } from './durable.ts'

/**
 * What is damaged and could not be had again, out of the way of what comes in
 * its place: `<root>/quarantine/<time>-<hex>/`, with `note.json`, and the blob
 * under its own name. Nothing here is deleted but by whoever put it here, or by hand.
 */

export interface QuarantineNote {
  /** Of the blob that it should have been. */
  digest: Digest
  /** RFC 3339. */
  at: string
  /** Goes on from "it was moved away because". */
  why: string
  /** Names of the images that need it. */
  images: string[]
}

export interface Quarantined extends QuarantineNote {
  /** Of its folder. */
  name: string
  size: number
}

/** What tells that a file is the one that was looked at. */
export interface FileStamp {
  inode: bigint
  size: bigint
  /** Nanoseconds. */
  changed: bigint
}

const NOTE = 'note.json'

/** Undefined where there is no such file. */
export const fileStamp = (path: string): FileStamp | undefined => {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat && { inode: stat.ino, size: stat.size, changed: stat.ctimeNs }
}

const isSame = (a: FileStamp, b: FileStamp | undefined): boolean =>
  a.inode === b?.inode && a.size === b.size && a.changed === b.changed

export class Quarantine {
  readonly #directory: string

  constructor(root: string) {
    this.#directory = join(root, 'quarantine')
  }

  /** Moves a blob's file here, durably; undefined where it is not the file any more that was looked at. */
  async take(path: string, note: QuarantineNote, stamp: FileStamp): Promise<string | undefined> {
    const name = `${note.at.replace(/[-:]|\.\d+/g, '')}-${digestHex(note.digest)}`
    const folder = join(this.#directory, name)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    await writeDurably(join(folder, NOTE), JSON.stringify(note, undefined, 2))
    await syncDirectory(this.#directory)
    failpoint('quarantine.noted')
    if (!isSame(stamp, fileStamp(path))) {
      await this.drop(name)
      return undefined
    }
    renameSync(path, join(folder, basename(path)))
    failpoint('quarantine.moved')
    await syncDirectory(folder)
    await syncDirectory(dirname(path))
    return name
  }

  /** Absent is fine. */
  async drop(name: string): Promise<void> {
    await rm(join(this.#directory, name), { recursive: true, force: true })
  }

  /** Oldest first. A note without its blob is what a crash left: it goes. */
  list(): Quarantined[] {
    return this.#names().flatMap(name => {
      const folder = join(this.#directory, name)
      const note = readNote(folder)
      const stat = note && statSync(join(folder, digestHex(note.digest)), { throwIfNoEntry: false })
      return note && stat ? [{ ...note, name, size: stat.size }] : []
    })
  }

  /** The latest note on a blob. */
  find(digest: Digest): Quarantined | undefined {
    return this.list().findLast(entry => entry.digest === digest)
  }

  /** Removes what a crash left half-made: notes on a blob that was not moved, folders without a note. */
  recover(): void {
    for (const name of this.#names()) {
      const folder = join(this.#directory, name)
      const note = readNote(folder)
      const moved = readdirSync(folder).some(entry => entry !== NOTE)
      if (note ? !moved : isEmpty(folder)) removeTree(folder)
    }
    try {
      rmdirSync(this.#directory)
    } catch (error) {
      if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTEMPTY')) throw error
    }
  }

  #names(): string[] {
    return namesIn(this.#directory).sort()
  }
}

const isEmpty = (folder: string): boolean => readdirSync(folder).every(name => name === NOTE)

const readNote = (folder: string): QuarantineNote | undefined => {
  try {
    return JSON.parse(readFileSync(join(folder, NOTE), 'utf8')) as QuarantineNote
  } catch {
    return undefined
  }
}
