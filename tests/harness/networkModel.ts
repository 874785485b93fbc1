/** Who may reach whom: what Docker promises of bridge networks, without a look at how it is done. */

export interface ModelNetwork {
  name: string
  /** Its containers reach one another. */
  icc: boolean
  /** Nothing leaves or enters it. */
  internal: boolean
}

export interface ModelContainer {
  name: string
  running: boolean
  /** In the order of connection. */
  networks: string[]
  /** Published at all addresses of the host. */
  hostPort?: number
}

export class NetworkModel {
  readonly networks: ReadonlyMap<string, ModelNetwork>
  readonly containers = new Map<string, ModelContainer>()

  constructor(networks: readonly ModelNetwork[]) {
    this.networks = new Map(networks.map(network => [network.name, network]))
  }

  /** A container that is known here. */
  container(name: string): ModelContainer {
    const found = this.containers.get(name)
    if (!found) throw new Error(`the model has no container ${name}`)
    return found
  }

  get running(): ModelContainer[] {
    return [...this.containers.values()].filter(({ running }) => running)
  }

  #network(name: string): ModelNetwork {
    const found = this.networks.get(name)
    if (!found) throw new Error(`the model has no network ${name}`)
    return found
  }

  /** Whether a container has a way out, by which its ports are published, too. */
  leadsOut({ networks }: ModelContainer): boolean {
    return networks.some(name => !this.#network(name).internal)
  }

  /** One container asks another at the address that it has on a network. */
  reaches(from: ModelContainer, to: ModelContainer, network: string): boolean {
    if (!to.running || !to.networks.includes(network)) return false
    if (from === to) return true
    return from.networks.includes(network) && this.#network(network).icc
  }

  /** Somebody asks an address of the host at a container's published port. */
  answersAt(to: ModelContainer): boolean {
    return to.running && to.hostPort !== undefined && this.leadsOut(to)
  }

  /** A container asks an address of the host at another's published port. */
  reachesPublished(from: ModelContainer, to: ModelContainer): boolean {
    return this.leadsOut(from) && this.answersAt(to)
  }

  /** The networks on which one container finds another by its name. */
  shared(from: ModelContainer, to: ModelContainer): string[] {
    return to.running ? from.networks.filter(name => to.networks.includes(name)) : []
  }
}
