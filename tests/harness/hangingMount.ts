import { closeSync, mkdirSync, openSync } from 'node:fs'
import { MNT_DETACH, mount, unmount } from '../../src/linux/mount.ts'

/** A FUSE file system whose server never says a word: whoever looks at it waits until it is aborted. */
export class HangingMount {
  readonly path: string
  #server: number | undefined

  constructor(path: string) {
    this.path = path
  }

  begin(): void {
    mkdirSync(this.path, { recursive: true })
    this.#server = openSync('/dev/fuse', 'r+')
    mount({
      source: 'hangs',
      target: this.path,
      type: 'fuse',
      data: `fd=${this.#server},rootmode=40000,user_id=0,group_id=0`,
    })
  }

  /** The server dies: whoever waits is told, and the mount goes. */
  end(): void {
    if (this.#server === undefined) return
    closeSync(this.#server)
    this.#server = undefined
    unmount(this.path, MNT_DETACH)
  }
}
