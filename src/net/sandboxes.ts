import fs from 'node:fs'
import path from 'node:path'
import { badRequest, internal } from '../core/errors.ts'
import { failpoint } from '../core/failpoint.ts'
import {
  createNamespace,
  inNamespace,
  isPinned,
  pinNamespace,
  preparePinFolder,
  removeNamespace,
  removePinFolder,
} from '../linux/namespace.ts'
import type { NamespaceHelper } from '../linux/namespaceHelper.ts'
import { NetlinkSocket, protocols } from '../linux/netlink.ts'
import { setLink } from '../linux/rtnetlink.ts'
import { withNamespaceOf, withNewNamespaces } from '../linux/userNamespace.ts'
import type { SandboxOwner } from './types.ts'

const raiseLoopback = (): void => {
  using socket = new NetlinkSocket(protocols.route)
  socket.batch([setLink('lo', { up: true })])
}

export interface SandboxesOptions {
  /** Has the pins of network namespaces. */
  folder: string
  /** Has those of user namespaces; it is made with the first of them. */
  userFolder: string
  /** Enters user namespaces; undefined where none are made. */
  helper: NamespaceHelper | undefined
}

/** The network namespaces of containers and the user namespaces that own some of them, each pinned by a file. */
export class Sandboxes {
  readonly #folder: string
  readonly #userFolder: string
  readonly #helper: NamespaceHelper | undefined

  constructor({ folder, userFolder, helper }: SandboxesOptions) {
    this.#folder = folder
    this.#userFolder = userFolder
    this.#helper = helper
    preparePinFolder(folder)
  }

  path(containerId: string): string {
    if (!/^[\w.-]+$/.test(containerId)) throw badRequest(`invalid container id: ${containerId}`)
    return path.join(this.#folder, containerId)
  }

  /** The file that pins a container's own user namespace, where it has one. */
  userPath(containerId: string): string {
    return path.join(this.#userFolder, path.basename(this.path(containerId)))
  }

  /** Makes one, loopback up; gives the file that pins it. */
  create(containerId: string): string {
    const file = this.path(containerId)
    createNamespace(file, raiseLoopback)
    failpoint('net.sandbox.created')
    return file
  }

  /** The same, owned by a user namespace: its processes may do there what needs a capability. */
  async createOwned(containerId: string, owner: SandboxOwner): Promise<string> {
    if (!this.#helper) throw internal('no user namespaces are made here')
    const network = this.path(containerId)
    try {
      if ('namespace' in owner)
        await withNamespaceOf(this.#helper, owner.namespace, pid =>
          pinNamespace(`/proc/${pid}/ns/net`, network),
        )
      else {
        preparePinFolder(this.#userFolder)
        await withNewNamespaces(this.#helper, owner.maps, pid => {
          pinNamespace(`/proc/${pid}/ns/user`, this.userPath(containerId))
          failpoint('net.sandbox.user')
          pinNamespace(`/proc/${pid}/ns/net`, network)
        })
      }
      failpoint('net.sandbox.owned')
      inNamespace(network, raiseLoopback)
    } catch (error) {
      this.remove(containerId)
      throw error
    }
    failpoint('net.sandbox.created')
    return network
  }

  /** Lets go of one; absent is no error. */
  remove(containerId: string): void {
    removeNamespace(this.path(containerId))
    if (fs.existsSync(this.userPath(containerId))) removeNamespace(this.userPath(containerId))
  }

  /** Ids of those that have a pin. Files that a death half way left go. */
  pinned(): string[] {
    return [...new Set([...pinnedIn(this.#folder), ...pinnedIn(this.#userFolder)])]
  }

  /** Takes the folders away; their pins must be gone. */
  removeFolder(): void {
    removePinFolder(this.#folder)
    removePinFolder(this.#userFolder)
  }
}

const pinnedIn = (folder: string): string[] => {
  if (!fs.existsSync(folder)) return []
  return fs.readdirSync(folder).filter(id => {
    const file = path.join(folder, id)
    if (isPinned(file)) return true
    fs.rmSync(file, { force: true })
    return false
  })
}
