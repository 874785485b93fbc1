import { badRequest } from '../../core/errors.ts'
import type { CgroupSupport } from '../../linux/cgroupSupport.ts'
import type { Resources } from '../../wire/container.ts'
import { discard, type ResourceCheck } from './discard.ts'

/** Limits of block devices, of create and update. */

const lacks = (what: string, discarded: string): string =>
  `Your kernel does not support ${what} or the cgroup is not mounted. ${discarded} discarded.`

const throttles: { key: keyof Resources; has: keyof CgroupSupport; warning: string }[] = [
  {
    key: 'BlkioDeviceReadBps',
    has: 'blockReadBps',
    warning: lacks('BPS Block I/O read limit', 'Block I/O BPS read limit'),
  },
  {
    key: 'BlkioDeviceWriteBps',
    has: 'blockWriteBps',
    warning: lacks('BPS Block I/O write limit', 'Block I/O BPS write limit'),
  },
  {
    key: 'BlkioDeviceReadIOps',
    has: 'blockReadIOps',
    warning: lacks('IOPS Block read limit', 'Block I/O IOPS read limit'),
  },
  {
    key: 'BlkioDeviceWriteIOps',
    has: 'blockWriteIOps',
    warning: lacks('IOPS Block write limit', 'Block I/O IOPS write limit'),
  },
]

export const checkBlockIo = (check: ResourceCheck): void => {
  const { resources, support } = check
  discard(check, support.blockWeight, {
    keys: ['BlkioWeight'],
    warning: lacks('Block I/O weight', 'Weight'),
  })
  const weight = resources.BlkioWeight ?? 0
  if (weight !== 0 && (weight < 10 || weight > 1000))
    throw badRequest('Range of blkio weight is from 10 to 1000')
  if (resources.IOMaximumBandwidth || resources.IOMaximumIOps)
    throw badRequest('Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps')
  discard(check, support.blockWeightDevice, {
    keys: ['BlkioWeightDevice'],
    warning: lacks('Block I/O weight_device', 'Weight-device'),
  })
  for (const { key, has, warning } of throttles)
    discard(check, support[has] === true, { keys: [key], warning })
}
