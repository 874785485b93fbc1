import { existsSync, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { RootMetadata } from '../archive/layer.ts'
import type { StackLayer } from '../archive/merged.ts'
import { type Digest, digestHex, isDigest } from '../oci/digest.ts'
import type { Layer } from './types.ts'

/**
 * One unpacked layer on disk, `<root>/layers/<hex of key>/`:
 * `diff/` its content, `layer.json` its record, `whiteouts.json` its whiteouts
 * where the filesystem cannot hold overlayfs's own.
 */
export interface LayerRecord {
  version: 1
  key: Digest
  diffId: Digest
  size: number
  diskBytes: number
  entries: number
  /** The content depends on the layers below: valid in the stack of chain id `key` only. */
  dependent: boolean
  root?: RootMetadata
  opaqueRoot: boolean
  /** The boot (its id) that wrote the content, while that may not be on disk yet. */
  unsynced?: string
}

export const layerHome = (root: string, key: Digest): string => join(root, 'layers', digestHex(key))

export const recordFile = (home: string): string => join(home, 'layer.json')

export const whiteoutFile = (home: string): string => join(home, 'whiteouts.json')

export const contentDirectory = (home: string): string => join(home, 'diff')

export const layerOf = (root: string, record: LayerRecord): Layer => {
  const home = layerHome(root, record.key)
  const { key, diffId, size, diskBytes, entries } = record
  return {
    key,
    diffId,
    path: contentDirectory(home),
    size,
    diskBytes,
    entries,
    opaqueRoot: record.opaqueRoot,
    ...(record.root ? { root: record.root } : {}),
  }
}

/** The record of a layer's folder; undefined where there is none or it is not readable as one. */
export const readRecord = (home: string): LayerRecord | undefined => {
  try {
    const record: LayerRecord = JSON.parse(readFileSync(recordFile(home), 'utf8'))
    return record.version === 1 && isDigest(record.key) ? record : undefined
  } catch {
    return undefined
  }
}

const BLOCK = 4096

/** Blocks of the layer's folder, of its record and of its whiteouts' record. */
export const recordBlocks = async (home: string): Promise<number> => {
  const whiteouts = await stat(whiteoutFile(home)).catch(() => undefined)
  return 2 * BLOCK + (whiteouts ? whiteouts.blocks * 512 : 0)
}

/** A layer for the functions that merge stacks without mounting them. */
export const stackLayer = (layer: Layer): StackLayer => {
  const record = whiteoutFile(join(layer.path, '..'))
  return existsSync(record) ? { path: layer.path, record } : { path: layer.path }
}

/**
 * The layers that overlayfs needs: what a layer that hides everything covers
 * is left out, and of a layer that occurs twice only the upper one is listed
 * (the lower one adds nothing: whatever it has or hides the upper one has or
 * hides too, and overlayfs refuses a directory listed twice). Bottom first.
 */
export const effectiveStack = (layers: readonly Layer[]): Layer[] => {
  const seen = new Set<Digest>()
  const stack: Layer[] = []
  for (const layer of layers.toReversed()) {
    if (!seen.has(layer.key)) stack.unshift(layer)
    seen.add(layer.key)
    if (layer.opaqueRoot) break
  }
  return stack
}
