import type { NetworkAttachment } from '../containers/types.ts'
import type { NetworkRecord } from './types.ts'

/** One network that a container is, or is to be, connected to. */
export interface Joined {
  attachment: NetworkAttachment
  network: NetworkRecord
}

const hasIpv6 = ({ network }: Joined): boolean => network.bridge?.ipv6 !== undefined

/** Which of these leads out: by priority, one with both families first, then by the network's name; none where all are internal. */
export const chooseGateway = (joined: readonly Joined[]): Joined | undefined =>
  joined
    .filter(({ network: { bridge } }) => bridge && !bridge.internal)
    .toSorted(
      (a, b) =>
        (b.attachment.gatewayPriority ?? 0) - (a.attachment.gatewayPriority ?? 0) ||
        Number(hasIpv6(b)) - Number(hasIpv6(a)) ||
        (a.network.name < b.network.name ? -1 : 1),
    )[0]
