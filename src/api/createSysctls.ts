import { internal } from '../core/errors.ts'
import type { CreateRequest, EndpointSettings } from '../wire/container.ts'
import type { ApiVersion } from '../wire/version.ts'

const option = 'com.docker.network.endpoint.sysctls'

const joinsAnother = (mode: string): boolean => mode === 'host' || mode.startsWith('container:')

/**
 * Before 1.48 a sysctl of eth0 (`net.ipv4.conf.eth0.forwarding`) means the interface on the container's main network,
 * which is not there yet when sysctls are set: it becomes an option of that endpoint. Later versions must say so
 * themselves. Errors: 500 in Docker's words. Returns a warning of what was moved.
 */
export const moveInterfaceSysctls = (
  request: CreateRequest,
  version: ApiVersion,
  mainEndpoint: () => EndpointSettings,
): string | undefined => {
  const host = request.HostConfig
  const sysctls = host?.Sysctls ?? {}
  const names = Object.keys(sysctls).filter(name => /^net\.[^.]*\.[^.]*\.eth[^.]*\./.test(name))
  if (names.length === 0 || joinsAnother(host?.NetworkMode ?? '')) return undefined
  const [first = ''] = names
  if (version.atLeast('1.48'))
    throw internal(
      `interface specific sysctl setting ${JSON.stringify(first)} must be supplied using driver option '${option}'`,
    )
  const moved = names.map(name => {
    const [, family = '', kind = '', link = '', rest = ''] =
      /^net\.([^.]*)\.([^.]*)\.([^.]*)\.(.*)$/.exec(name) ?? []
    if (link !== 'eth0')
      throw internal(
        `unable to determine network endpoint for sysctl ${name}, use driver option '${option}' to set per-interface sysctls`,
      )
    return `net.${family}.${kind}.IFNAME.${rest}=${sysctls[name]}`
  })
  const endpoint = mainEndpoint()
  const given = endpoint.DriverOpts?.[option]
  endpoint.DriverOpts = { ...endpoint.DriverOpts, [option]: [...moved, ...(given ? [given] : [])].join(',') }
  for (const name of names) delete sysctls[name]
  return `Migrated sysctl ${JSON.stringify(names.join(','))} to DriverOpts{${JSON.stringify(option)}:${JSON.stringify(moved.join(','))}}.`
}
