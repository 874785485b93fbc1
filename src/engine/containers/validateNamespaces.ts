import { badRequest } from '../../core/errors.ts'
import type { ContainerConfig, HostConfig } from '../../wire/container.ts'

/** Which namespaces a container may ask for, and what does not go with one that is not its own. Docker's words. */

export const checkNamespaces = (hostConfig: HostConfig): void => {
  const modes: [name: string, given: string | undefined, form: RegExp][] = [
    ['IPC', hostConfig.IpcMode, /^(|none|private|shareable|host|container:.*)$/],
    ['PID', hostConfig.PidMode, /^(|host|container:.+)$/],
    ['UTS', hostConfig.UTSMode, /^(|host)$/],
    ['cgroup namespace', hostConfig.CgroupnsMode, /^(|private|host)$/],
  ]
  for (const [name, given = '', form] of modes)
    if (!form.test(given)) throw badRequest(`invalid ${name} mode: ${given}`)
}

const conflicting = (what: string): Error => badRequest(`conflicting options: ${what}`)
const isEmpty = (given: object | undefined): boolean => Object.keys(given ?? {}).length === 0

const undefinedLinks = (network: string): Error =>
  conflicting(`${network} can't be used with links. This would result in undefined behavior`)

/** What belongs to a network of its own, and so to the other container. */
const checkSharedNetwork = (config: ContainerConfig, hostConfig: HostConfig): void => {
  if (config.Hostname) throw conflicting('hostname and the network mode')
  if (hostConfig.Links?.length) throw undefinedLinks('container type network')
  if (hostConfig.Dns?.length) throw conflicting('dns and the network mode')
  if (hostConfig.ExtraHosts?.length) throw conflicting('custom host-to-IP mapping and the network mode')
  if (!isEmpty(hostConfig.PortBindings) || hostConfig.PublishAllPorts)
    throw conflicting('port publishing and the container type network mode')
  if (!isEmpty(config.ExposedPorts)) throw conflicting('port exposing and the container type network mode')
}

/** `config` is the request's own, without what the image says. */
export const checkNetworkMode = (config: ContainerConfig, hostConfig: HostConfig): void => {
  const mode = hostConfig.NetworkMode ?? ''
  if (mode === 'container' || mode === 'container:')
    throw badRequest('invalid network mode: invalid container format container:<name|id>')
  if (mode.startsWith('container:')) checkSharedNetwork(config, hostConfig)
  if (hostConfig.UTSMode === 'host' && config.Hostname) throw conflicting('hostname and the UTS mode')
  if (mode === 'host' && hostConfig.Links?.length) throw undefinedLinks('host type networking')
}
