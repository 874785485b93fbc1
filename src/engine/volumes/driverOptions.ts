import { badRequest } from '../../core/errors.ts'
import { readSize } from '../../wire/sizes.ts'

/** The options of the driver `local`, as users give them. */

const known = ['type', 'o', 'device', 'size']
/** What an option cannot be without. */
const needs: [string, string[]][] = [
  ['device', ['type']],
  ['type', ['device']],
  ['o', ['device', 'type']],
]

/** Most bytes that a volume comes to hold; 0 for any. Errors: `bad-request` in Docker's words. */
export const volumeLimit = ({ size }: Record<string, string>): number =>
  size === undefined ? 0 : readSize(size)

/** A CIFS device is a URL to Docker; its port belongs into `o`. */
const checkCifsDevice = (device: string): void => {
  if (/^(?:[a-z]+:)?\/\/[^/]*:\d+(?:\/|$)/i.test(device))
    throw badRequest("port not allowed in CIFS device URL, include 'port' in 'o='")
}

/** `canLimit`: the file system keeps quotas. Errors: `bad-request` in Docker's words. */
export const checkOptions = (options: Record<string, string>, canLimit: boolean): void => {
  for (const name of Object.keys(options))
    if (!known.includes(name)) throw badRequest(`invalid option: ${JSON.stringify(name)}`)
  if (options['type'] === 'cifs') checkCifsDevice(options['device'] ?? '')
  if (volumeLimit(options) > 0 && !canLimit) throw badRequest('quota size requested but no quota support')
  for (const [option, required] of needs)
    for (const name of option in options ? required : [])
      if (!(name in options)) throw badRequest(`missing required option: ${JSON.stringify(name)}`)
}
