import { badRequest } from '../../core/errors.ts'

/** The options of the driver `local`, as users give them. */

const known = ['type', 'o', 'device', 'size']
/** What an option cannot be without. */
const needs: [string, string[]][] = [
  ['device', ['type']],
  ['type', ['device']],
  ['o', ['device', 'type']],
]

const sizeForm = /^(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?$/

const checkSize = (size: string): void => {
  const [, digits] = sizeForm.exec(size) ?? []
  if (digits === undefined) throw badRequest(`invalid size: '${size}'`)
  if (Number(digits) > 0) throw badRequest('quota size requested but no quota support')
}

/** A CIFS device is a URL to Docker; its port belongs into `o`. */
const checkCifsDevice = (device: string): void => {
  if (/^(?:[a-z]+:)?\/\/[^/]*:\d+(?:\/|$)/i.test(device))
    throw badRequest("port not allowed in CIFS device URL, include 'port' in 'o='")
}

/** Errors: `bad-request` in Docker's words. */
export const checkOptions = (options: Record<string, string>): void => {
  for (const name of Object.keys(options))
    if (!known.includes(name)) throw badRequest(`invalid option: ${JSON.stringify(name)}`)
  if (options['type'] === 'cifs') checkCifsDevice(options['device'] ?? '')
  if (options['size'] !== undefined) checkSize(options['size'])
  for (const [option, required] of needs)
    for (const name of option in options ? required : [])
      if (!(name in options)) throw badRequest(`missing required option: ${JSON.stringify(name)}`)
}
