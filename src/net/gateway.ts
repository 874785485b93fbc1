import { failpoint } from '../core/failpoint.ts'
import { setHairpin } from '../linux/rtnetlink.ts'
import { wayOutOf } from './bridge.ts'
import { type EndpointPlace, exposureOf, publishedPorts, setGateway } from './endpoint.ts'
import { endPublishedFlows, forgetUntranslatedFlows } from './flows.ts'
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
    if (to) setGateway(place, to.endpoint, wayOutOf(to.bridge))
    else if (from) setGateway(place, from.endpoint, undefined)
    failpoint('net.gateway.routed')
    if (to) await givePorts(place, to, held)
  } catch (error) {
    if (to) takePorts(place, to.endpoint)
    if (from) {
      setGateway(place, from.endpoint, wayOutOf(from.bridge))
      publish(place, from.endpoint, held)
    }
    throw error
  }
  failpoint('net.gateway.published')
  if (from && to?.endpoint.published !== held)
    await place.ports.release(from.endpoint.containerId, heldOf(held))
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
  endpoint.exposure = exposureOf(bridge)
  const goesOn = heldOf(held).length > 0 && endpoint.exposure !== 'direct'
  const published = goesOn ? held : await publishedPorts(place, endpoint.containerId, { bridge, ports })
  publish(place, endpoint, published)
}

const publish = (place: EndpointPlace, endpoint: Endpoint, published: PublishedPort[]): void => {
  endpoint.defaultRoute = true
  endpoint.published = published
  if (published.length === 0) return
  place.routes.batch([setHairpin(endpoint.hostLink, true)])
  place.firewall?.addEndpoint(endpoint)
  forgetUntranslatedFlows(place, published)
}
