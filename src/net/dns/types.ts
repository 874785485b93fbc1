/**
 * The name server that containers on user-defined networks find at
 * 127.0.0.11. Vocabulary:
 *
 * - **names**: what one container may ask for by name; a view of the engine's
 *   records, computed when it is asked, so that nothing has to be told of changes.
 * - **sandbox server**: one UDP and one TCP socket inside a container's network
 *   namespace, on ports of the kernel's choice, to which that namespace's own
 *   rules lead what is sent to 127.0.0.11:53. The descriptors stay in the
 *   descriptor store while no daemon runs; queries wait in them.
 * - **forwarder**: asks the upstream servers what no name answers. One a daemon,
 *   with one cache and one memory of which server is well.
 */

/** What one container's name server knows. Names come in lower case without the final dot. */
export interface ContainerNames {
  /**
   * Addresses of a name of both families, all of them, in an order that turns from one answer to the next (round robin);
   * empty where the name exists but has none; undefined where it is not ours.
   */
  addresses(name: string): string[] | undefined
  /** The name of an address on one of its networks, with the network's (`web.front`); undefined where it is not ours. */
  nameOf(address: string): string | undefined
  /** Where to ask for the rest: `10.0.0.53`, `10.0.0.53:5353`. Empty where the container has only internal networks: then nothing is forwarded. */
  upstreams(): string[]
}

/** Keeps descriptors while the daemon is away; as `PortKeeper`. Names are `dns:<container id>:<udp|tcp>:<port>`. */
export interface DescriptorKeeper {
  /** Borrows the descriptor: the caller closes its own copy once it resolves. */
  keep(name: string, fd: number): Promise<void>
  /** A copy of a kept descriptor, which the caller then owns; undefined where there is none. */
  take(name: string): Promise<number | undefined>
  drop(name: string): Promise<void>
  names(): Promise<string[]>
}

export interface NameServersOptions {
  keeper: DescriptorKeeper
  /** File that pins a container's namespace. */
  sandbox(containerId: string): string
  /** The names of a container; asked at each query. Undefined where it is not known any more: answered with REFUSED. */
  names(containerId: string): ContainerNames | undefined
  onWarning?: (text: string) => void
}

/** All sandbox servers of a daemon. */
export interface NameServers extends AsyncDisposable {
  /** Opens the sockets in a fresh sandbox, with the rules that lead to them. Nothing is left where it fails. */
  open(containerId: string): Promise<void>
  /** Closes them; absent is no error. The rules end with the namespace. */
  close(containerId: string): Promise<void>
  /**
   * After a start: takes back the sockets of these containers, opens again those that are lost, and drops what belongs
   * to none. Gives one line for each change.
   */
  adopt(containerIds: readonly string[]): Promise<string[]>
  /** While containers run: gives the keeper again what a lost one held. */
  keepAgain(): Promise<void>
}
