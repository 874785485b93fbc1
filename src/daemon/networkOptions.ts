import { badRequest } from '../core/errors.ts'

/** Reads those options about networks that are more than a word. */

const markNumber = (what: string, text: string, whole: string): number => {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!(number <= 0xffffffff))
    throw badRequest(`invalid bridge-accept-fwmark: invalid firewall ${what} "${whole}"`)
  return number
}

/** `0x10` or `0x10/0xff`. */
export const markOf = (text: string): { mark: number; mask: number } | undefined => {
  if (text === '') return undefined
  const [mark = '', mask] = text.split(/\/(.*)/s)
  return {
    mark: markNumber('mark', mark, text),
    mask: mask === undefined ? 0xffffffff : markNumber('mask', mask, text),
  }
}

/** By flag `bridge=com.docker.network.driver.mtu=1400`, in daemon.json `{"bridge": {"com.docker.network.driver.mtu": "1400"}}`. */
export const networkOptionsOf = (value: unknown): Record<string, Record<string, string>> => {
  const found: Record<string, Record<string, string>> = {}
  for (const [driver, options] of Object.entries((value ?? {}) as Record<string, unknown>)) {
    const entries = Object.entries((options ?? {}) as Record<string, unknown>)
    if (typeof options !== 'object' || entries.some(([, text]) => typeof text !== 'string'))
      throw badRequest(
        `invalid value ${JSON.stringify(options)} for default-network-opt of ${driver}: want <driver>=<option>=<text>`,
      )
    found[driver] = Object.fromEntries(entries) as Record<string, string>
  }
  return found
}
