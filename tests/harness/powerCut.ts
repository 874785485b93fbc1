import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'
import { must } from './shell.ts'

/** A filesystem of a test's own in a file, that can be filled up, or cut from power. */
const libc = koffi.load('libc.so.6')
const ioctl = libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint32_t *argument)')
/** `_IOR('X', 125, __u32)`, linux/fs.h and fs/ext4/ext4.h */
const EXT4_IOC_SHUTDOWN = 0x8004587d
const NO_LOG_FLUSH = 2

export class LoopFilesystem {
  readonly image: string
  readonly mountPoint: string

  constructor(image: string, mountPoint: string) {
    this.image = image
    this.mountPoint = mountPoint
  }

  /** Makes it, ext4, of so many MiB. */
  async make(mebibytes: number, ...options: string[]): Promise<void> {
    await must(['truncate', '-s', `${mebibytes}M`, this.image])
    await must(['mkfs.ext4', '-q', '-F', '-m', '0', ...options, this.image])
    await must(['mkdir', '-p', this.mountPoint])
  }

  async mount(...options: string[]): Promise<void> {
    await must(['mount', '-o', ['loop', ...options].join(','), this.image, this.mountPoint])
  }

  async unmount(): Promise<void> {
    await must(['umount', this.mountPoint])
  }

  /** As a power cut: nothing more reaches the disk, not even the journal's open transaction. */
  cut(): void {
    const fd = openSync(this.mountPoint, 'r')
    try {
      if (ioctl(fd, EXT4_IOC_SHUTDOWN, [NO_LOG_FLUSH]) !== 0)
        throw new Error(`the filesystem cannot be shut down: errno ${koffi.errno()}`)
    } finally {
      closeSync(fd)
    }
  }
}
