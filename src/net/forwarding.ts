import fs from 'node:fs'
import path from 'node:path'
import { writeKernelFile } from '../linux/namespace.ts'

/** The host's ip_forward, and the note that it was this daemon that turned it on. */

const sysctl = '/proc/sys/net/ipv4/ip_forward'

export class Forwarding {
  readonly #note: string

  constructor(folder: string) {
    this.#note = path.join(folder, 'ip-forward')
  }

  /** This daemon, or one before it on the same exec-root, turned forwarding on. */
  get ours(): boolean {
    return fs.existsSync(this.#note)
  }

  get on(): boolean {
    return fs.readFileSync(sysctl, 'utf8').trim() !== '0'
  }

  /** Turns forwarding on; `protect` puts the drop of others' traffic in place, between the note and the deed. */
  turnOn(protect: () => void): void {
    if (this.on) return
    fs.mkdirSync(path.dirname(this.#note), { recursive: true, mode: 0o700 })
    fs.writeFileSync(this.#note, 'turned on by this daemon\n')
    protect()
    writeKernelFile(sysctl, '1')
  }

  /** Turns off what was turned on here, unless others may rely on it by now. */
  giveBack(othersMayNeedIt: boolean): void {
    if (!this.ours) return
    if (!othersMayNeedIt) writeKernelFile(sysctl, '0')
    fs.rmSync(this.#note, { force: true })
  }
}
