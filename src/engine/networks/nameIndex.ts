/** Names and addresses of what is connected, by network: an answer costs the same whatever their number. */

interface Member {
  containerId: string
  /** Of both families. */
  addresses: string[]
  /** Its own name first. */
  names: string[]
}

interface Network {
  byContainer: Map<string, Member>
  byName: Map<string, Set<Member>>
  byAddress: Map<string, Member>
}

export class NameIndex {
  readonly #networks = new Map<string, Network>()

  /** Makes a member known, under these names instead of any before. */
  put(networkId: string, member: Member): void {
    this.remove(networkId, member.containerId)
    const network = this.#networks.get(networkId) ?? {
      byContainer: new Map(),
      byName: new Map(),
      byAddress: new Map(),
    }
    this.#networks.set(networkId, network)
    const lower = { ...member, names: [...new Set(member.names.map(name => name.toLowerCase()))] }
    network.byContainer.set(member.containerId, lower)
    for (const address of member.addresses) network.byAddress.set(address, lower)
    for (const name of lower.names) {
      const holders = network.byName.get(name) ?? new Set()
      network.byName.set(name, holders.add(lower))
    }
  }

  remove(networkId: string, containerId: string): void {
    const network = this.#networks.get(networkId)
    const member = network?.byContainer.get(containerId)
    if (!network || !member) return
    network.byContainer.delete(containerId)
    for (const address of member.addresses)
      if (network.byAddress.get(address) === member) network.byAddress.delete(address)
    for (const name of member.names) {
      const holders = network.byName.get(name)
      holders?.delete(member)
      if (holders?.size === 0) network.byName.delete(name)
    }
    if (network.byContainer.size === 0) this.#networks.delete(networkId)
  }

  /** Addresses under a name in lower case; empty where nobody has it. */
  addresses(networkId: string, name: string): string[] {
    return [...(this.#networks.get(networkId)?.byName.get(name) ?? [])].flatMap(({ addresses }) => addresses)
  }

  /** The own name of whoever has an address. */
  nameOf(networkId: string, address: string): string | undefined {
    return this.#networks.get(networkId)?.byAddress.get(address)?.names[0]
  }
}
