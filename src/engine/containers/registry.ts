import { BerthError, badRequest, conflict } from '../../core/errors.ts'
import { PrefixIndex } from '../../core/prefixIndex.ts'
import type { Database, Put } from '../../store/database.ts'
import { Container } from './container.ts'
import type { ContainerRecord } from './types.ts'

const kind = 'container'
const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

const putOf = (container: Container): Put => ({ kind, id: container.id, value: container.record })

/** All containers, by id and by name: lookups never leave memory. */
export class Registry {
  readonly #database: Database
  readonly #byId = new Map<string, Container>()
  readonly #byPrefix = new PrefixIndex<Container>()
  /** By the time of their creation. */
  readonly #inOrder: Container[] = []
  /** Names in use, also by containers that are still being made. */
  readonly #names = new Map<string, string>()

  /** Containers by the id of one that they link to. */
  readonly #linking = new Map<string, Set<Container>>()

  /** Whose last change could not be written. */
  readonly #unsaved = new Set<Container>()

  constructor(database: Database) {
    this.#database = database
  }

  static async load(database: Database): Promise<Registry> {
    const registry = new Registry(database)
    for (const { value } of await database.load(kind))
      registry.#insert(new Container(value as ContainerRecord))
    return registry
  }

  #insert(container: Container): void {
    this.#byId.set(container.id, container)
    this.#byPrefix.add(container)
    this.#inOrder.splice(this.#placeOf(container.created), 0, container)
    this.#names.set(container.record.name, container.id)
    for (const { id } of container.record.links ?? []) {
      const parents = this.#linking.get(id) ?? new Set()
      this.#linking.set(id, parents.add(container))
    }
  }

  /** Behind all that were created at this time or before. */
  #placeOf(created: bigint): number {
    let [low, high] = [0, this.#inOrder.length]
    // Mostly it is the newest.
    if ((this.#inOrder[high - 1]?.created ?? 0n) <= created) return high
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#inOrder[middle]?.created ?? 0n) <= created) low = middle + 1
      else high = middle
    }
    return low
  }

  #unlink(container: Container): void {
    this.#linking.delete(container.id)
    for (const { id } of container.record.links ?? []) this.#linking.get(id)?.delete(container)
  }

  /** Containers that link to this one, or did before a link was removed. */
  linking(id: string): Container[] {
    return [...(this.#linking.get(id) ?? [])]
  }

  /** Takes a name for an id. Errors: `bad-request`, `conflict`, in Docker's words. */
  reserveName(name: string, id: string): void {
    if (!nameForm.test(name))
      throw badRequest(`Invalid container name (${name}), only ${'[a-zA-Z0-9][a-zA-Z0-9_.-]'} are allowed`)
    const holder = this.#names.get(name)
    if (holder !== undefined && holder !== id)
      throw conflict(
        `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
      )
    this.#names.set(name, id)
  }

  isNameFree(name: string): boolean {
    return !this.#names.has(name)
  }

  releaseName(name: string, id: string): void {
    if (this.#names.get(name) === id) this.#names.delete(name)
  }

  /** Makes a new container known and durable. */
  async add(record: ContainerRecord, besides: readonly Put[] = []): Promise<Container> {
    await this.#database.write([{ kind, id: record.id, value: record }, ...besides], { durable: true })
    const container = new Container(record)
    this.#insert(container)
    return container
  }

  /** Writes a container's record as it is now. */
  async save(container: Container, options: { durable: boolean } = { durable: false }): Promise<void> {
    if (!this.#byId.has(container.id)) return
    try {
      await this.#database.write([putOf(container)], options)
      this.#unsaved.delete(container)
    } catch (error) {
      this.#unsaved.add(container)
      throw error
    }
    await this.#saveRest()
  }

  /** Once one write succeeds again after a full disk, those that failed are made up for. */
  async #saveRest(): Promise<void> {
    const rest = [...this.#unsaved].filter(container => this.#byId.has(container.id))
    this.#unsaved.clear()
    if (rest.length === 0) return
    try {
      await this.#database.write(rest.map(putOf), { durable: false })
    } catch {
      for (const container of rest) this.#unsaved.add(container)
    }
  }

  /** Forgets a container durably. Its id and name are free when this settles. */
  async delete(container: Container, besides: readonly Put[] = []): Promise<void> {
    await this.#database.write([{ kind, id: container.id, value: undefined }, ...besides], { durable: true })
    this.#byId.delete(container.id)
    this.#byPrefix.delete(container)
    const place = this.#inOrder.lastIndexOf(container, this.#placeOf(container.created))
    this.#inOrder.splice(place, 1)
    this.#unlink(container)
    this.releaseName(container.record.name, container.id)
  }

  /** In order of creation. */
  all(): Container[] {
    return [...this.#inOrder]
  }

  byId(id: string): Container | undefined {
    return this.#byId.get(id)
  }

  /** The one whose id begins so; undefined where there are none or several. */
  byPrefix(prefix: string): Container | undefined {
    const [found, ...more] = prefix === '' ? [] : this.#byPrefix.find(prefix)
    return more.length === 0 ? found : undefined
  }

  /** By full id, name (with or without slash), name of a link (`parent/alias`), or unique prefix of an id. Errors: `no-such-container`, `bad-request`. */
  get(reference: string): Container {
    const found = this.find(reference)
    if (!found) throw new BerthError('no-such-container', 404, `No such container: ${reference}`)
    return found
  }

  /** As `get`, but undefined where there is none. Errors: `bad-request` for a prefix of several. */
  find(reference: string): Container | undefined {
    const exact = this.#byId.get(reference) ?? this.#byName(reference)
    if (exact) return exact
    const matches = /^[a-f0-9]+$/.test(reference) ? this.#byPrefix.find(reference) : []
    if (matches.length > 1) throw badRequest(`multiple IDs found with provided prefix: ${reference}`)
    return matches[0]
  }

  #byName(name: string): Container | undefined {
    const [own = '', alias] = name.replace(/^\//, '').split('/', 2)
    const found = this.#byId.get(this.#names.get(own) ?? '')
    if (alias === undefined) return found
    return this.#byId.get(found?.record.links?.find(link => link.alias === alias)?.id ?? '')
  }
}
