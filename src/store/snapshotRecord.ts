import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { RootMetadata } from '../archive/layer.ts'
import { type Digest, digestOf } from '../oci/digest.ts'
import { unfinishedName, writeDurably } from './durable.ts'
import { contentDirectory, whiteoutFile } from './layerRecord.ts'
import { isUnmoved } from './movedFolder.ts'
import type { Layer, LayerStore } from './types.ts'

/**
 * One snapshot on disk, `<root>/snapshots/<id>/`: `layer/` as the layer store
 * has it, but for its record, and `snapshot.json`. When the layer was sealed and
 * has gone to `layers/`, a link to it stays in its place: who was told its path
 * before may not have come to it yet.
 */
export interface SnapshotRecord {
  version: 1
  id: string
  size: number
  /** Of its content. */
  diskBytes: number
  entries: number
  opaqueRoot: boolean
  /** Where it is not what the layers below make it. */
  root?: RootMetadata
  /** Inodes of files that are hard links to files outside. */
  linked?: number[]
  /** The diff id. With the folder still there, a crash came before it went to the layers. */
  sealed?: Digest
  /** The boot (its id) that wrote the content, while that may not be on disk yet. */
  unsynced?: string
}

export const snapshotFile = (home: string): string => join(home, 'snapshot.json')

export const snapshotLayer = (home: string): string => join(home, 'layer')

/** The key that a snapshot has as a layer until it is sealed. */
export const snapshotKey = (id: string): Digest => digestOf(`snapshot ${id}`)

export const layerOfSnapshot = (home: string, record: SnapshotRecord): Layer => {
  const { id, size, diskBytes, entries, opaqueRoot, root } = record
  return {
    key: snapshotKey(id),
    diffId: snapshotKey(id),
    path: contentDirectory(snapshotLayer(home)),
    size,
    diskBytes,
    entries,
    opaqueRoot,
    ...(root ? { root } : {}),
  }
}

const blocksOf = (path: string): number => (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512

/** Bytes on disk of a snapshot's folders and records, beside what is in its layer. */
export const ownBlocks = (home: string): number =>
  [home, snapshotLayer(home), snapshotFile(home), whiteoutFile(snapshotLayer(home))]
    .map(blocksOf)
    .reduce((sum, bytes) => sum + bytes, 0)

/** Undefined where there is none or it is not readable as one. */
const readSnapshot = (home: string): SnapshotRecord | undefined => {
  try {
    const record: SnapshotRecord = JSON.parse(readFileSync(snapshotFile(home), 'utf8'))
    return record.version === 1 && record.id === basename(home) ? record : undefined
  } catch {
    return undefined
  }
}

/**
 * The record of a folder that an earlier process left. What another boot left unsynced is not trusted; of one that is
 * sealed the layers are asked.
 */
export const trustedSnapshot = (
  home: string,
  { bootId, layers }: { bootId: string; layers: Pick<LayerStore, 'present'> },
): SnapshotRecord | undefined => {
  const record = readSnapshot(home)
  if (!record) return undefined
  if (isUnmoved(snapshotLayer(home))) {
    const { sealed: _, ...unsealed } = record
    return record.unsynced === undefined || record.unsynced === bootId ? unsealed : undefined
  }
  return record.sealed !== undefined && layers.present([record.sealed])[0] ? record : undefined
}

/** The first record of a new one, not yet durable. */
export const writeSnapshot = (home: string, record: SnapshotRecord): void =>
  writeFileSync(snapshotFile(home), JSON.stringify(record), { mode: 0o600 })

/** Puts another record in its place, durably. */
export const replaceSnapshot = async (home: string, record: SnapshotRecord): Promise<void> => {
  const fresh = join(home, unfinishedName())
  await writeDurably(fresh, JSON.stringify(record))
  renameSync(fresh, snapshotFile(home))
}
