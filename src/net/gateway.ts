import { failpoint } from '../core/failpoint.ts'
import { setHairpin } from '../linux/rtnetlink.ts'
import { type EndpointPlace, exposuresOf, publishedPorts, setGateway } from './endpoint.ts'
import { endPublishedFlows, forgetUntranslatedFlows } from './flows.ts'
import { familyOf } from './subnets.ts'
import type { BridgeSpec, Endpoint, PortRequest, PublishedPort } from './types.ts'

/** The endpoint by which a sandbox reaches the world, and is reached, while it runs. */

export interface Gateway {
  endpoint: Endpoint
  bridge: BridgeSpec
}

export interface NextGateway extends Gateway {
  /** Asked for where the endpoint before had none of the host's. */
  ports: PortRequest[]
}

/**
 * Moves the default route and the published ports of a sandbox from one
 * endpoint to another; without `to` there are none any more. Changes both
 * endpoints; all is as before where it fails. Errors: those of a port that was
 * not held and cannot be had.
 */
export const moveGateway = async (
  place: EndpointPlace,
  from: Gateway | undefined,
  to: NextGateway | undefined,
): Promise<void> => {
  const held = from ? takePorts(place, from.endpoint) : []
  try {
    failpoint('net.gateway.unpublished')
    if (to) setGateway(place, to.endpoint, to.bridge)
    else if (from) setGateway(place, from.endpoint, undefined)
    failpoint('net.gateway.routed')
    if (to) await givePorts(place, to, held)
  } catch (error) {
    if (to) await releaseAllBut(held, place, { ...to.endpoint, published: takePorts(place, to.endpoint) })
    if (from) {
      setGateway(place, from.endpoint, from.bridge)
      publish(place, from.endpoint, held)
    }
    throw error
  }
  failpoint('net.gateway.published')
  if (from) await releaseAllBut(to?.endpoint.published ?? [], place, { ...from.endpoint, published: held })
}

const releaseAllBut = async (
  kept: readonly PublishedPort[],
  place: EndpointPlace,
  { containerId, published }: Pick<Endpoint, 'containerId' | 'published'>,
): Promise<void> => {
  const over = heldOf(published).filter(port => !kept.includes(port))
  if (over.length > 0) await place.ports.release(containerId, over)
}

const heldOf = (ports: PublishedPort[]): PublishedPort[] => ports.filter(({ hostPort }) => hostPort > 0)

const takePorts = (place: EndpointPlace, endpoint: Endpoint): PublishedPort[] => {
  place.firewall?.removeEndpoint(endpoint)
  endPublishedFlows(place, endpoint)
  const { published } = endpoint
  endpoint.published = []
  endpoint.defaultRoute = false
  return published
}

/** Ports of the host's that the endpoint before had go on, held all the time. */
const givePorts = async (
  place: EndpointPlace,
  { endpoint, bridge, ports }: NextGateway,
  held: PublishedPort[],
): Promise<void> => {
  Object.assign(endpoint, exposuresOf(bridge))
  const hasIpv6 = endpoint.ipv6 !== undefined
  const goesOn = heldOf(held).length > 0 && endpoint.exposure !== 'direct'
  const kept = goesOn ? held.filter(({ hostIp }) => hasIpv6 || familyOf(hostIp) === 4) : []
  const wanted = goesOn ? lackedByIpv6(ports, kept) : ports
  const added =
    goesOn && !(hasIpv6 && place.firewall?.publishesIpv6)
      ? []
      : await publishedPorts(place, endpoint.containerId, { bridge, ports: wanted, hasIpv6 })
  publish(place, endpoint, [...kept, ...added])
}

/** Requests for all addresses that have a port of IPv4 alone so far: the same number for IPv6. */
const lackedByIpv6 = (ports: PortRequest[], kept: PublishedPort[]): PortRequest[] =>
  ports.flatMap(request => {
    const same = kept.filter(
      ({ protocol, containerPort }) =>
        protocol === request.protocol && containerPort === request.containerPort,
    )
    if (request.hostIp !== '' || same.some(({ hostIp }) => familyOf(hostIp) === 6)) return []
    return same.map(({ hostPort }) => ({
      ...request,
      ...{ hostIp: '::', hostPortFirst: hostPort, hostPortLast: hostPort },
    }))
  })

const publish = (place: EndpointPlace, endpoint: Endpoint, published: PublishedPort[]): void => {
  endpoint.defaultRoute = true
  endpoint.published = published
  if (published.length === 0) return
  place.routes.batch([setHairpin(endpoint.hostLink, true)])
  place.firewall?.addEndpoint(endpoint)
  forgetUntranslatedFlows(place, published)
}
