import fs from 'node:fs'
import path from 'node:path'
import { badRequest } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import {
  createNamespace,
  isPinned,
  preparePinFolder,
  removeNamespace,
  removePinFolder,
} from '../linux/namespace.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { setLink } from '../linux/rtnetlink.ts'

/** The network namespaces of containers, each pinned by a file in one folder. */
export class Sandboxes {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
    preparePinFolder(folder)
  }

  path(containerId: string): string {
    if (!/^[\w.-]+$/.test(containerId)) throw badRequest(`invalid container id: ${containerId}`)
    return path.join(this.#folder, containerId)
  }

  /** Makes one, loopback up; gives the file that pins it. */
  create(containerId: string): string {
    const file = this.path(containerId)
    createNamespace(file, () => {
      using socket = new NetlinkSocket(protocols.route)
      socket.batch([setLink('lo', { up: true })])
    })
    failpoint('net.sandbox.created')
    return file
  }

  /** Lets go of one; absent is no error. */
  remove(containerId: string): void {
    removeNamespace(this.path(containerId))
  }

  /** Ids of those that are pinned. Files that a death half way left go. */
  pinned(): string[] {
    if (!fs.existsSync(this.#folder)) return []
    return fs.readdirSync(this.#folder).filter(id => {
      const file = path.join(this.#folder, id)
      if (isPinned(file)) return true
      fs.rmSync(file, { force: true })
      return false
    })
  }

  /** Takes the folder away; its pins must be gone. */
  removeFolder(): void {
    removePinFolder(this.#folder)
  }
}
