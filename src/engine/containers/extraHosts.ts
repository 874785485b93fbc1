import { isIP } from 'node:net'
import { badRequest } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'

/** `--add-host`: `name:address`, the address `host-gateway` for the host's own on the default bridge. */

export const hostGateway = 'host-gateway'

/** What that stands for; empty where there is none. */
export const gatewayOfHost = ({ settings, networks }: Pick<Engine, 'settings' | 'networks'>): string =>
  settings.hostGatewayIp || (networks.find('bridge')?.bridge?.gateway ?? '')

/** Errors: `bad-request` in Docker's words. */
export const parseExtraHost = (text: string): { name: string; address: string } => {
  const separator = text.indexOf(':')
  const name = text.slice(0, separator)
  const given = text.slice(separator + 1)
  if (separator < 1) throw badRequest(`bad format for add-host: ${JSON.stringify(text)}`)
  const address = given.replace(/^\[(.*)\]$/, '$1')
  if (given !== hostGateway && isIP(address.trim()) === 0)
    throw badRequest(`invalid IP address in add-host: ${JSON.stringify(given)}`)
  return { name, address: address.trim() }
}

/** With `host-gateway` replaced. Errors: `bad-request` where there is no gateway. */
export const extraHost = (text: string, gateway: string): { name: string; address: string } => {
  const { name, address } = parseExtraHost(text)
  if (address !== hostGateway) return { name, address }
  if (gateway === '') throw badRequest('unable to derive the IP value for host-gateway')
  return { name, address: gateway }
}
