import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { ByteString } from '../../archive/paths.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { FileStat } from '../../linux/stat.ts'
import type { Digest } from '../../oci/digest.ts'

/**
 * What the files of a context folder hold, in a file beside it, so that they
 * need not be hashed again. A line counts where the file is the one that it was
 * written of. Without it nothing is known of a folder, not even whether its files
 * reached the disk: then it begins anew.
 */

interface Known {
  inode: number
  size: number
  mtime: bigint
  digest: Digest
}

type Line = [path: ByteString, inode: number, size: number, mtime: string, digest: Digest]

interface Written {
  version: 1
  /** Of the kernel's run: what was not synced by an earlier one may be damaged. */
  boot: string
  files: Line[]
}

const thisBoot = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

const read = (path: string): Written | undefined => {
  try {
    const written = JSON.parse(readFileSync(path, 'utf8')) as Written
    return written.version === 1 && Array.isArray(written.files) ? written : undefined
  } catch {
    return undefined
  }
}

export class ContextIndex {
  readonly #path: string
  readonly #boot = thisBoot()
  readonly #known = new Map<ByteString, Known>()
  readonly #files: Line[] = []
  #isChanged = false
  readonly isThere: boolean
  /** False where the machine was started since: a file counts only if it still holds what was noted. */
  readonly isOfThisBoot: boolean

  /** One that is damaged is not there. */
  constructor(path: string) {
    this.#path = path
    const written = read(path)
    this.isThere = written !== undefined
    this.isOfThisBoot = written === undefined || written.boot === this.#boot
    this.#isChanged = !this.isOfThisBoot
    for (const [file, inode, size, mtime, digest] of written?.files ?? [])
      this.#known.set(file, { inode, size, mtime: BigInt(mtime), digest })
  }

  /** The folder is empty, and what comes into it comes in this run of the kernel. */
  begin(): void {
    this.#write()
  }

  /** The digest that was noted of this very file. */
  find(path: ByteString, stat: FileStat): Digest | undefined {
    const known = this.#known.get(path)
    return known && known.inode === stat.inode && known.size === stat.size && known.mtime === stat.mtime
      ? known.digest
      : undefined
  }

  note(path: ByteString, stat: FileStat, digest: Digest): void {
    this.#isChanged ||= this.find(path, stat) !== digest
    this.#files.push([path, stat.inode, stat.size, stat.mtime.toString(), digest])
  }

  /** Forgets all: files are about to be replaced by others that look the same. */
  discard(): void {
    this.#known.clear()
    this.#isChanged = true
    rmSync(this.#path, { force: true })
  }

  /** Writes what was noted, and nothing else. */
  save(): void {
    if (!this.#isChanged && this.#files.length === this.#known.size) return
    this.#write()
  }

  #write(): void {
    const written: Written = { version: 1, boot: this.#boot, files: this.#files }
    const unfinished = `${this.#path}.new`
    writeFileSync(unfinished, JSON.stringify(written), { mode: 0o600 })
    failpoint('context.index')
    renameSync(unfinished, this.#path)
  }
}
