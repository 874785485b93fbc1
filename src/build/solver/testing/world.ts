import { notFound } from '../../../core/errors.ts'
import { digestOf } from '../../../oci/digest.ts'
import { canonical } from '../../graph/digest.ts'
import type { ExecMount, FileAction, Vertex } from '../../graph/types.ts'
import type { RecordStore } from '../cache.ts'
import type {
  ContentDigest,
  FileDigest,
  Identity,
  LayerRef,
  Selection,
  StepInput,
  StepRunner,
  Tree,
  Work,
} from '../types.ts'

/** A model of what steps do, with file systems that are maps of paths to texts. */

export type Files = ReadonlyMap<string, string>

/** What is outside: changed between builds. */
export interface Outside {
  /** Files of images by reference. */
  images: Record<string, Record<string, string>>
  /** Files of clients' folders by name; a build's own by `build/name`. */
  locals: Record<string, Record<string, string>>
  /** By URL. */
  downloads: Record<string, string>
}

const layerId = (layer: LayerRef): string => (layer.kind === 'snapshot' ? layer.id : layer.diffId)

const within = (path: string, folder: string): string | undefined => {
  if (folder === '/') return path
  if (path === folder) return '/'
  return path.startsWith(`${folder}/`) ? path.slice(folder.length) : undefined
}

/** The files below a path, by their paths within it. */
export const part = (files: Files, folder: string): Files =>
  new Map(
    [...files].flatMap(([path, text]) => {
      const inner = within(path, folder)
      return inner === undefined ? [] : [[inner, text] as const]
    }),
  )

const filesText = (files: Files): string => canonical(Object.fromEntries(files))

const joined = (folder: string, inner: string): string =>
  inner === '/' ? folder : `${folder.replace(/\/$/, '')}${inner}`

/** What an exec leaves: a file whose text tells all that it saw, so that a wrong hit is a wrong result. */
export const execFiles = (vertex: Vertex, mounts: readonly Files[]): Files => {
  const { operation } = vertex
  if (operation.kind !== 'exec') return new Map()
  const seen = digestOf(canonical([operation.args, operation.env, mounts.map(filesText)]))
  return new Map([[`/made/${operation.args.join('-')}`, seen]])
}

/** What a copy adds. */
export const copyFiles = (action: FileAction, from: Files): Files => {
  if (action.kind === 'makeFile') return new Map([[action.path, action.content]])
  if (action.kind !== 'copy') return new Map()
  const name = action.contentsOnly ? '' : action.source.slice(action.source.lastIndexOf('/'))
  const destination = joined(action.destination, name === '' ? '/' : name)
  const chosen = part(from, action.source)
  if (chosen.size === 0) throw notFound(`"${action.source}": not found`)
  return new Map([...chosen].map(([path, text]) => [joined(destination, path), text]))
}

export const mountPaths = (mounts: readonly ExecMount[]): { input: number | undefined; source: string }[] =>
  mounts.flatMap(mount => (mount.kind === 'bind' ? [{ input: mount.input, source: mount.source }] : []))

/** When something goes on, or fails; does nothing by itself. */
export type Hook = (what: string, vertex: Vertex, signal: AbortSignal) => Promise<void>

export class World implements StepRunner {
  readonly outside: Outside
  readonly layers = new Map<string, Files>()
  /** What was done: `run [name]`, `identify [name]`, `content [path]`, `discard`. */
  readonly done: string[] = []
  readonly running = new Map<string, number>()
  /** Vertices that ran twice at once. */
  readonly doubled: string[] = []
  hook: Hook = async () => {}
  /** Results of builds that others may begin with. */
  readonly lent = new Map<string, Identity>()
  /** Whether content digests come with their files. */
  tellsFiles = true
  #next = 1

  constructor(outside: Outside) {
    this.outside = outside
  }

  files(tree: Tree): Files {
    const files = new Map<string, string>()
    for (const layer of tree.layers) {
      const own = this.layers.get(layerId(layer))
      if (!own) throw new Error(`layer ${layerId(layer)} is not there`)
      for (const [path, text] of own) files.set(path, text)
    }
    return files
  }

  #layer(files: Files): LayerRef {
    const id = `layer${this.#next++}`
    this.layers.set(id, files)
    return { kind: 'snapshot', id }
  }

  async #step(what: string, vertex: Vertex, signal: AbortSignal): Promise<void> {
    this.done.push(`${what} ${vertex.step.name}`)
    await this.hook(what, vertex, signal)
    signal.throwIfAborted()
  }

  async identify({ vertex, signal }: Work): ReturnType<StepRunner['identify']> {
    await this.#step('identify', vertex, signal)
    const { operation } = vertex
    if (operation.kind === 'http')
      return { key: digestOf(`http ${operation.url} ${this.outside.downloads[operation.url]}`) }
    if (operation.kind === 'result') return this.lent.get(operation.id) ?? {}
    if (operation.kind !== 'image') return {}
    const files = this.outside.images[operation.reference]
    if (!files) throw notFound(`${operation.reference}: not found`)
    const diffId = digestOf(canonical(files))
    this.layers.set(diffId, new Map(Object.entries(files)))
    const { reference } = operation
    const layer: LayerRef = { kind: 'image', diffId, blob: diffId, size: 1, mediaType: '', reference }
    return { key: diffId, tree: { layers: [layer] }, atHand: false }
  }

  async run(work: Work, inputs: readonly StepInput[]): Promise<Tree[]> {
    const { vertex, signal } = work
    const active = this.running.get(vertex.digest) ?? 0
    if (active > 0) this.doubled.push(vertex.step.name)
    this.running.set(vertex.digest, active + 1)
    try {
      await this.#step('run', vertex, signal)
      return this.#make(work, inputs)
    } finally {
      this.running.set(vertex.digest, (this.running.get(vertex.digest) ?? 1) - 1)
    }
  }

  #make({ vertex, builds }: Work, inputs: readonly StepInput[]): Tree[] {
    const { operation } = vertex
    if (operation.kind === 'merge') return [{ layers: inputs.flatMap(({ tree }) => tree.layers) }]
    const over = (input: number | undefined, files: Files): Tree => ({
      layers: [...(input === undefined ? [] : (inputs[input]?.tree.layers ?? [])), this.#layer(files)],
    })
    const filesOf = (input: number | undefined): Files => {
      const tree = input === undefined ? undefined : inputs[input]?.tree
      return tree ? this.files(tree) : new Map()
    }
    if (operation.kind === 'local') {
      const own = `${builds()[0]?.id}/${operation.name}`
      const files = this.outside.locals[own] ?? this.outside.locals[operation.name] ?? {}
      return [over(undefined, new Map(Object.entries(files)))]
    }
    if (operation.kind === 'http')
      return [over(undefined, new Map([['/file', this.outside.downloads[operation.url] ?? '']]))]
    if (operation.kind === 'file') {
      const files = operation.actions.flatMap(action => [
        ...copyFiles(action, filesOf(action.kind === 'copy' ? action.from : undefined)),
      ])
      return [over(operation.base, new Map(files))]
    }
    if (operation.kind !== 'exec') throw new Error(`no ${operation.kind} here`)
    const seen = mountPaths(operation.mounts).map(({ input, source }) => part(filesOf(input), source))
    const outputs = operation.mounts.filter(mount => mount.kind === 'bind' && mount.output !== undefined)
    return outputs.map(mount =>
      over(mount.kind === 'bind' ? mount.input : undefined, execFiles(vertex, seen)),
    )
  }

  async contentDigest({ tree }: StepInput, selection: Selection): Promise<ContentDigest> {
    this.done.push(`content ${selection.path}`)
    await this.hook('content', noVertex, new AbortController().signal)
    const chosen = part(this.files(tree), selection.path)
    if (chosen.size === 0) throw notFound(`"${selection.path}": not found`)
    const files: FileDigest[] = [...chosen].map(([path, text]) => [
      joined(selection.path, path),
      digestOf(text),
    ])
    const digest = digestOf(filesText(chosen))
    return this.tellsFiles ? { digest, files } : { digest }
  }

  async keep(tree: Tree, signal: AbortSignal): Promise<Tree> {
    await this.hook('keep', noVertex, signal)
    signal.throwIfAborted()
    return { layers: [this.#layer(this.files(tree))] }
  }

  async isWhole(tree: Tree): Promise<boolean> {
    return tree.layers.every(layer => this.layers.has(layerId(layer)))
  }

  async discard(layers: readonly LayerRef[]): Promise<void> {
    this.done.push('discard')
    for (const layer of layers) this.layers.delete(layerId(layer))
  }
}

const noVertex: Vertex = {
  digest: `sha256:${'0'.repeat(64)}`,
  inputs: [],
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: 'amd64' },
  step: { name: '' },
}

/** A store of documents in memory. */
export class MemoryStore implements RecordStore {
  readonly documents = new Map<string, string>()
  /** Writes that fail. */
  failure: Error | undefined
  writes = 0

  async load(kind: string): Promise<{ id: string; value: unknown }[]> {
    return [...this.documents]
      .filter(([key]) => key.startsWith(`${kind} `))
      .map(([key, json]) => ({ id: key.slice(kind.length + 1), value: JSON.parse(json) as unknown }))
  }

  async write(puts: readonly { kind: string; id: string; value: unknown }[]): Promise<void> {
    await Promise.resolve()
    if (this.failure) throw this.failure
    this.writes++
    for (const { kind, id, value } of puts)
      if (value === undefined) this.documents.delete(`${kind} ${id}`)
      else this.documents.set(`${kind} ${id}`, JSON.stringify(value))
  }
}
