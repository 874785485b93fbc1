import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { PluginServer } from './pluginServer.ts'

/** A volume plugin that keeps its volumes in folders, and who has which of them mounted. */
export class VolumePlugin implements AsyncDisposable {
  readonly volumes = new Map<string, { options: Record<string, string> }>()
  /** `NAME ID`, in the order in which they were mounted. */
  readonly mounted: string[] = []
  /** By method: what it answers instead. */
  readonly refusals = new Map<string, string>()
  readonly server: PluginServer
  readonly #folder: string

  private constructor(folder: string, server: PluginServer) {
    this.#folder = folder
    this.server = server
  }

  static async start(folder: string, name: string, { scope = 'local' } = {}): Promise<VolumePlugin> {
    const box: { plugin?: VolumePlugin } = {}
    const own = (): VolumePlugin => box.plugin as VolumePlugin
    const server = await PluginServer.start({ folder, name }, ['VolumeDriver'], {
      'VolumeDriver.Create': ({ Name, Opts }) => own().create(Name, Opts ?? {}),
      'VolumeDriver.Remove': ({ Name }) => own().#remove(Name),
      'VolumeDriver.Mount': ({ Name, ID }) => own().#mount(Name, ID),
      'VolumeDriver.Unmount': ({ Name, ID }) => own().#unmount(Name, ID),
      'VolumeDriver.Path': ({ Name }) => ({ Mountpoint: own().path(Name) }),
      'VolumeDriver.Get': ({ Name }) => ({ Volume: own().#tell(Name) }),
      'VolumeDriver.List': () => own().#list(),
      'VolumeDriver.Capabilities': () => ({ Capabilities: { Scope: scope } }),
    })
    box.plugin = new VolumePlugin(path.join(folder, `volumes-${name}`), server)
    return box.plugin
  }

  path(name: string): string {
    return path.join(this.#folder, name)
  }

  #refuse(method: string): void {
    const words = this.refusals.get(method)
    if (words) throw new Error(words)
  }

  #tell(name: string): object {
    if (!this.volumes.has(name)) throw new Error(`there is no ${name}`)
    const isMounted = this.mounted.some(entry => entry.startsWith(`${name} `))
    return {
      ...{ Name: name, CreatedAt: '2020-01-02T03:04:05Z', Status: { health: 'good' } },
      ...(isMounted ? { Mountpoint: this.path(name) } : {}),
    }
  }

  create(name: string, options: Record<string, string>): object {
    this.#refuse('Create')
    if (this.volumes.has(name)) throw new Error(`${name} is there already`)
    mkdirSync(this.path(name), { recursive: true })
    this.volumes.set(name, { options })
    return {}
  }

  #remove(name: string): object {
    this.#refuse('Remove')
    if (!this.volumes.delete(name)) throw new Error(`there is no ${name}`)
    rmSync(this.path(name), { recursive: true })
    return {}
  }

  #mount(name: string, id: string): object {
    this.#refuse('Mount')
    this.#tell(name)
    this.mounted.push(`${name} ${id}`)
    return { Mountpoint: this.path(name) }
  }

  #unmount(name: string, id: string): object {
    this.#refuse('Unmount')
    const at = this.mounted.indexOf(`${name} ${id}`)
    if (at < 0) throw new Error(`${name} is not mounted by ${id}`)
    this.mounted.splice(at, 1)
    return {}
  }

  #list(): object {
    this.#refuse('List')
    return { Volumes: [...this.volumes.keys()].map(name => this.#tell(name)) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]()
  }
}
