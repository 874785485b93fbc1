import { chmodSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../core/errors.ts'
import { nonce } from '../core/ids.ts'
import type { IdMaps } from '../linux/idMaps.ts'
import { MS_BIND, MS_RDONLY, MS_REMOUNT, makeHiddenMount, mount } from '../linux/mount.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import { OwnerNamespaces } from './mappedOwners.ts'
import type { Snapshotter } from './snapshotter.ts'
import type { Layer } from './types.ts'
import type { Unmounter } from './unmounter.ts'

export interface MountsOptions {
  /** Mount points are made in it; nothing else is. */
  directory: string
  snapshotter: Snapshotter
  unmounter: Unmounter
  namespaceHelper?: NamespaceHelper
}

export interface SnapshotMount {
  home: string
  layers: readonly Layer[]
  init?: string | undefined
  owners?: IdMaps
  label?: string
  isReadOnly?: boolean
}

/** What snapshots are mounted at while they are made or looked at. No mount outlives the daemon that made it. */
export class SnapshotMounts {
  readonly #options: MountsOptions
  readonly #namespaces: OwnerNamespaces

  constructor(options: MountsOptions) {
    this.#options = options
    this.#namespaces = new OwnerNamespaces(options.namespaceHelper)
  }

  /** Gives the mount point. Nothing of it stays where that fails. */
  async mount({ home, layers, init, owners, label, isReadOnly }: SnapshotMount): Promise<string> {
    const mapped = owners && (await this.#namespaces.of(owners))
    const target = join(this.#options.directory, `${nonce()}${nonce()}`)
    mkdirSync(target, { mode: 0o700 })
    try {
      const request = { home, layers, init, target, label, owners: mapped }
      this.#options.snapshotter.mount({ ...request, volatile: true })
      if (isReadOnly) mount({ source: 'none', target, flags: MS_REMOUNT | MS_BIND | MS_RDONLY })
      return target
    } catch (error) {
      await this.unmount(target)
      throw error
    }
  }

  async unmount(target: string): Promise<void> {
    await this.#options.unmounter.unmount(target)
    try {
      rmdirSync(target)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }

  /** Clears away what an earlier daemon left mounted. */
  async recover(onError: (path: string, error: unknown) => void): Promise<void> {
    const { directory } = this.#options
    // Processes in user namespaces of their own go through it to their roots.
    mkdirSync(directory, { recursive: true, mode: 0o711 })
    chmodSync(directory, 0o711)
    makeHiddenMount(directory)
    // One mount that does not go must not keep the daemon from starting.
    for (const name of readdirSync(directory))
      await this.unmount(join(directory, name)).catch(error => onError(join(directory, name), error))
  }
}
