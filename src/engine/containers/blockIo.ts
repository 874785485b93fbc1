import { statSync } from 'node:fs'
import { badRequest, messageOf } from '../../core/errors.ts'
import type { SpecResources } from '../../oci/runtimeSpec.ts'
import type { Resources } from '../../wire/container.ts'
import { deviceNumbers } from './privileges.ts'

/** Limits of block devices (`--device-read-bps` and its kin, `--blkio-weight-device`), whose paths are on the host. */

type BlockIo = NonNullable<SpecResources['blockIO']>

const numbersOf = (path = ''): { major: number; minor: number } => {
  try {
    return deviceNumbers(statSync(path).rdev)
  } catch (error) {
    throw badRequest(`cannot limit the device ${path}: ${messageOf(error)}`, error)
  }
}

const rates = (
  list: Resources['BlkioDeviceReadBps'],
): { major: number; minor: number; rate: number }[] | undefined =>
  list?.length ? list.map(({ Path, Rate = 0 }) => ({ ...numbersOf(Path), rate: Rate })) : undefined

/** What the runtime is told; undefined where nothing is limited. Errors: `bad-request` for a path that is not there. */
export const blockIo = (resources: Resources): BlockIo | undefined => {
  const weights = resources.BlkioWeightDevice
  const limits = {
    weight: resources.BlkioWeight || undefined,
    weightDevice: weights?.length
      ? weights.map(({ Path, Weight = 0 }) => ({ ...numbersOf(Path), weight: Weight }))
      : undefined,
    throttleReadBpsDevice: rates(resources.BlkioDeviceReadBps),
    throttleWriteBpsDevice: rates(resources.BlkioDeviceWriteBps),
    throttleReadIOPSDevice: rates(resources.BlkioDeviceReadIOps),
    throttleWriteIOPSDevice: rates(resources.BlkioDeviceWriteIOps),
  }
  const given = Object.entries(limits).filter(([, value]) => value !== undefined)
  return given.length ? (Object.fromEntries(given) as BlockIo) : undefined
}
