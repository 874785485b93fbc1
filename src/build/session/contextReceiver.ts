import { type ByteString, baseOf, joinPath, parentOf, show, toByteString } from '../../archive/paths.ts'
import { badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { FileStat } from '../../linux/stat.ts'
import type { Digest } from '../../oci/digest.ts'
import {
  entryOf,
  keepDirectory,
  keepDirectoryTime,
  keepHardLink,
  keepLink,
  keepNode,
  looksSame,
} from './contextEntries.ts'
import { ArrivingFile, type WantedFile } from './contextFile.ts'
import { ContextIndex } from './contextIndex.ts'
import { ContextPlaces } from './contextPlaces.ts'
import { PacketOrder } from './packetOrder.ts'
import { type Packet, packet, packetTypes, type Stat } from './packets.ts'
import type { SyncedEntry, SyncedTree } from './types.ts'

/**
 * fsutil's receiver over a folder that holds what came the last time: asks for
 * files that look changed, removes what is gone. It may be left at any moment:
 * what has a name is whole, and the next sync finds what is missing.
 */

/** So many files may be asked for and not be there. */
const mostAskedFor = 128

/** What a client lists is kept in memory. */
const mostEntries = 4_000_000

export interface ReceiverOptions {
  folder: string
  differ: 'metadata' | 'none'
  send(packet: Packet): void
}

interface Sent {
  stat: Stat
  /** Its name was there before the sync. */
  wasThere: boolean
  number: number
}

export class ContextReceiver implements Disposable {
  readonly #options: ReceiverOptions
  readonly #places: ContextPlaces
  readonly #index: ContextIndex
  readonly #order = new PacketOrder(path => this.#leave(path))
  readonly #entries: SyncedEntry[] = []
  /** Of each directory that was there and is open, the names that were in it and have not come. */
  readonly #left = new Map<ByteString, Set<ByteString>>()
  /** Files by path, for hard links to them. */
  readonly #files = new Map<ByteString, SyncedEntry>()
  readonly #kept = new Set<number>()
  readonly #links: { path: ByteString; sameAs: ByteString; number: number }[] = []
  readonly #wanted: WantedFile[] = []
  /** So many of them have been asked for. */
  #asked = 0
  readonly #arriving = new Map<number, ArrivingFile>()
  #count = 0
  #listEnded = false
  readonly #received = { files: 0, bytes: 0 }
  /** There once all has come; the sender still has to say goodbye. */
  tree: SyncedTree | undefined
  hasEnded = false

  constructor(options: ReceiverOptions) {
    using undo = new DisposableStack()
    this.#options = options
    this.#places = undo.use(new ContextPlaces(options.folder))
    this.#index = new ContextIndex(`${options.folder}.index`)
    if (options.differ === 'none') this.#index.discard()
    else if (!this.#index.isThere) {
      for (const name of this.#places.names('')) this.#places.remove(name)
      this.#index.begin()
    }
    this.#left.set('', new Set(this.#places.names('')))
    undo.move()
  }

  /** Errors: `bad-request` for what no sender sends, what the sender failed with, SystemError. */
  take({ type, stat, id, data }: Packet): void {
    if (type === packetTypes.stat) this.#takeStat(stat)
    else if (type === packetTypes.data) this.#takeData(id, data)
    else if (type === packetTypes.fin) this.hasEnded = true
    else if (type === packetTypes.error)
      throw badRequest(`error from sender: ${Buffer.from(data).toString()}`)
    else throw badRequest(`the client sent a packet of the type ${type}, which is not for a receiver`)
  }

  [Symbol.dispose](): void {
    for (const file of this.#arriving.values()) file[Symbol.dispose]()
    this.#places[Symbol.dispose]()
  }

  #takeStat(stat: Stat | undefined): void {
    if (this.#listEnded) throw badRequest('the client sent an entry behind the end of its list')
    if (!stat) {
      this.#order.end()
      this.#listEnded = true
      this.#goOn()
      return
    }
    if (this.#count === mostEntries)
      throw badRequest(`the client's folder has more than ${mostEntries} entries`)
    const entry = entryOf(stat)
    this.#order.next(entry.path, entry.kind === 'directory')
    const wasThere = this.#left.get(parentOf(entry.path))?.delete(baseOf(entry.path)) ?? false
    this.#entries.push(entry)
    this.#keep(entry, { stat, wasThere, number: this.#count++ })
    this.#goOn()
  }

  #keep(entry: SyncedEntry, sent: Sent): void {
    const { stat, number } = sent
    const there = sent.wasThere ? this.#places.stat(entry.path) : undefined
    if (entry.kind === 'directory') {
      const { isNew } = keepDirectory(this.#places, entry, { stat, there })
      if (!isNew) this.#left.set(entry.path, new Set(this.#places.names(entry.path)))
    } else if (entry.kind === 'link') {
      entry.target = toByteString(stat.linkname)
      keepLink(this.#places, entry, { number, there })
    } else if (stat.linkname.length > 0) this.#linkLater(entry, toByteString(stat.linkname), number)
    else if (entry.kind === 'file') this.#keepFile(entry, sent, there)
    else {
      entry.device = { major: Number(stat.devmajor), minor: Number(stat.devminor) }
      keepNode(this.#places, entry, { number, there })
      this.#files.set(entry.path, entry)
    }
  }

  #linkLater(entry: SyncedEntry, sameAs: ByteString, number: number): void {
    if (!this.#files.has(sameAs))
      throw badRequest(`invalid link ${show(entry.path)} to unknown path: ${show(sameAs)}`)
    entry.sameAs = sameAs
    this.#links.push({ path: entry.path, sameAs, number })
  }

  #keepFile(entry: SyncedEntry, { stat, number, wasThere }: Sent, there: FileStat | undefined): void {
    this.#files.set(entry.path, entry)
    const digest = there && this.#isKept(there, stat) ? this.#digestOfKept(entry.path, there) : undefined
    if (there && digest) {
      this.#kept.add(there.inode)
      this.#become(entry, there, digest)
      return
    }
    const { path, mode, mtime } = entry
    this.#wanted.push({ number, path, mode, mtime, xattrs: stat.xattrs, replaces: wasThere })
  }

  /** Names that are one inode here and are not at the client's must part. */
  #isKept(there: FileStat, stat: Stat): boolean {
    return this.#options.differ === 'metadata' && looksSame(there, stat) && !this.#kept.has(there.inode)
  }

  /** Undefined where a power cut may have damaged it: it has to come again. */
  #digestOfKept(path: ByteString, there: FileStat): Digest | undefined {
    const noted = this.#index.find(path, there)
    if (this.#index.isOfThisBoot) return noted ?? this.#places.digest(path)
    return noted === undefined || this.#places.digest(path) === noted ? noted : undefined
  }

  #become(entry: SyncedEntry, stat: FileStat, digest: Digest): void {
    entry.size = stat.size
    entry.digest = digest
    this.#index.note(entry.path, stat, digest)
  }

  #takeData(id: number, data: Uint8Array): void {
    const file = this.#arriving.get(id)
    if (!file) throw badRequest(`invalid file request ${id}`)
    if (data.length > 0) {
      this.#received.bytes += data.length
      file.write(data)
      return
    }
    // Among those that are disposed of until it has its name.
    const { stat, digest } = file.finish()
    this.#arriving.delete(id)
    this.#received.files++
    const entry = this.#files.get(file.wanted.path)
    if (entry) this.#become(entry, stat, digest)
    this.#goOn()
  }

  /** Asks for what has not been asked for, and ends where nothing is. */
  #goOn(): void {
    while (this.#arriving.size < mostAskedFor) {
      const wanted = this.#wanted[this.#asked]
      if (!wanted) break
      this.#asked++
      this.#arriving.set(wanted.number, new ArrivingFile(this.#places, wanted))
      this.#options.send(packet(packetTypes.request, { id: wanted.number }))
    }
    if (this.#listEnded && this.#arriving.size === 0) this.#finish()
  }

  #leave(directory: ByteString): void {
    for (const name of this.#left.get(directory) ?? []) {
      failpoint('context.remove')
      this.#places.remove(joinPath(directory, name))
    }
    this.#left.delete(directory)
  }

  #finish(): void {
    for (const link of this.#links) keepHardLink(this.#places, link)
    for (const entry of this.#entries) {
      const same = entry.sameAs === undefined ? undefined : this.#files.get(entry.sameAs)
      if (same) Object.assign(entry, { ...same, path: entry.path, sameAs: same.path })
    }
    for (const entry of this.#entries.toReversed())
      if (entry.kind === 'directory') keepDirectoryTime(this.#places, entry)
    this.#index.save()
    this.tree = { entries: this.#entries, received: this.#received }
    this.#options.send(packet(packetTypes.fin))
  }
}
