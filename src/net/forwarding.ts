import fs from 'node:fs'
import path from 'node:path'
import { writeKernelFile } from '../linux/namespace.ts'
import type { Family } from './subnets.ts'

/** The host's forwarding of a family, and the note that it was this daemon that turned it on. */

const settings = '/proc/sys/net/ipv6/conf'

const kinds = {
  4: { note: 'ip-forward', sysctl: '/proc/sys/net/ipv4/ip_forward' },
  6: { note: 'ip6-forward', sysctl: `${settings}/all/forwarding` },
} as const

/**
 * A host that forwards IPv6 hears no more of its own router's advertisements, and loses its address and its way out
 * when they expire, unless its links are told to hear them all the same.
 */
const keepHearingRouters = (): void => {
  for (const link of fs.readdirSync(settings).filter(name => !['all', 'default'].includes(name))) {
    const file = path.join(settings, link, 'accept_ra')
    try {
      if (fs.readFileSync(file, 'utf8').trim() === '1') writeKernelFile(file, '2')
    } catch {
      // The link went away meanwhile.
    }
  }
}

export class Forwarding {
  readonly family: Family
  readonly #note: string
  readonly #sysctl: string

  constructor(folder: string, family: Family) {
    this.family = family
    this.#note = path.join(folder, kinds[family].note)
    this.#sysctl = kinds[family].sysctl
  }

  /** This daemon, or one before it on the same exec-root, turned forwarding on. */
  get ours(): boolean {
    return fs.existsSync(this.#note)
  }

  get on(): boolean {
    return fs.readFileSync(this.#sysctl, 'utf8').trim() !== '0'
  }

  /** Turns forwarding on; `protect` puts the drop of others' traffic in place, between the note and the deed. */
  turnOn(protect: () => void): void {
    if (this.on) return
    fs.mkdirSync(path.dirname(this.#note), { recursive: true, mode: 0o700 })
    fs.writeFileSync(this.#note, 'turned on by this daemon\n')
    protect()
    if (this.family === 6) keepHearingRouters()
    writeKernelFile(this.#sysctl, '1')
  }

  /** Turns off what was turned on here, unless others may rely on it by now. */
  giveBack(othersMayNeedIt: boolean): void {
    if (!this.ours) return
    if (!othersMayNeedIt) writeKernelFile(this.#sysctl, '0')
    fs.rmSync(this.#note, { force: true })
  }
}
