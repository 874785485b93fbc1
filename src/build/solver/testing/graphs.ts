import { GraphBuilder } from '../../graph/builder.ts'
import type { Edge, ExecMount, ExecOperation, FileAction, Graph, Step, Vertex } from '../../graph/types.ts'
import { amd64 } from '../../plan/testing/fixture.ts'
import { copyFiles, execFiles, type Files, mountPaths, type Outside, part } from './world.ts'

/** Graphs for tests, in few words, and what they come to. */

export const execOf = (own: Partial<ExecOperation> = {}): ExecOperation => ({
  kind: 'exec',
  args: ['true'],
  env: [],
  directory: '/',
  user: '',
  network: 'default',
  security: 'sandbox',
  mounts: [{ kind: 'bind', target: '/', readOnly: false, input: 0, source: '/', output: 0 }],
  secretEnv: [],
  devices: [],
  extraHosts: [],
  ulimits: [],
  proxy: {},
  files: [],
  ...own,
})

export const copyOf = (
  own: Partial<Extract<FileAction, { kind: 'copy' }>> = {},
): Extract<FileAction, { kind: 'copy' }> => ({
  kind: 'copy',
  from: 1,
  source: '/',
  destination: '/',
  followLinks: true,
  contentsOnly: true,
  unpack: false,
  createDestination: true,
  wildcards: false,
  allowEmpty: false,
  include: [],
  exclude: [],
  keepParents: false,
  replace: false,
  ...own,
})

export const vertexOf = (
  own: Pick<Vertex, 'operation'> & Partial<Omit<Vertex, 'digest'>>,
): Omit<Vertex, 'digest'> => ({
  inputs: [],
  platform: amd64,
  step: { name: own.operation.kind },
  ...own,
})

/** Builds a graph step by step. */
export class Script {
  readonly builder = new GraphBuilder()

  #add(operation: Vertex['operation'], inputs: Edge[], step: Step): Edge {
    return this.builder.add(vertexOf({ operation, inputs, step }))
  }

  image(reference: string): Edge {
    return this.#add({ kind: 'image', reference, resolve: 'default' }, [], { name: `FROM ${reference}` })
  }

  local(name = 'context'): Edge {
    const operation = { kind: 'local', name, sharedKey: name, differ: 'metadata' } as const
    return this.#add(operation, [], { name: `[internal] load ${name}` })
  }

  download(url: string): Edge {
    return this.#add({ kind: 'http', url, filename: 'file' }, [], { name: url })
  }

  run(
    base: Edge,
    command: string,
    options: { step?: Partial<Step>; mounts?: [Edge, string][]; env?: string[] } = {},
  ): Edge {
    const { step = {}, mounts = [], env = [] } = options
    const more = mounts.map(
      ([, source], index): ExecMount => ({
        kind: 'bind',
        target: `/mnt/${index}`,
        readOnly: true,
        input: index + 1,
        source,
        output: undefined,
      }),
    )
    const operation = execOf({ args: [command], env, mounts: [...execOf().mounts, ...more] })
    const name = `RUN ${command}`
    return this.#add(operation, [base, ...mounts.map(([edge]) => edge)], { name, described: name, ...step })
  }

  /** `base` undefined begins with nothing. */
  copy(
    base: Edge | undefined,
    from: Edge,
    [source, destination]: [string, string],
    step: Partial<Step> = {},
  ): Edge {
    const action = copyOf({ source, destination, from: base ? 1 : 0 })
    const operation = { kind: 'file', base: base ? 0 : undefined, actions: [action] } as const
    const name = `COPY ${source} ${destination}`
    const inputs = base ? [base, from] : [from]
    return this.#add({ ...operation, actions: [action] }, inputs, { name, described: name, ...step })
  }

  merge(...inputs: Edge[]): Edge {
    return this.#add({ kind: 'merge' }, inputs, { name: 'merge' })
  }

  graph(result: Edge): Graph {
    return this.builder.graph(result)
  }
}

/** What a graph comes to, done from its beginning without any cache. */
export const interpret = ({ vertices, result }: Graph, outside: Outside, build = ''): Files => {
  const done = new Map<string, Files>()
  const filesOf = (vertex: Vertex, input: number | undefined): Files => {
    const edge = input === undefined ? undefined : vertex.inputs[input]
    return (edge && done.get(edge.vertex)) ?? new Map()
  }
  for (const vertex of vertices.values())
    done.set(vertex.digest, interpretOne(vertex, outside, { build, filesOf }))
  return (result && done.get(result.vertex)) ?? new Map()
}

const interpretOne = (
  vertex: Vertex,
  { images, locals, downloads }: Outside,
  { build, filesOf }: { build: string; filesOf: (vertex: Vertex, input: number | undefined) => Files },
): Files => {
  const { operation } = vertex
  if (operation.kind === 'image') return new Map(Object.entries(images[operation.reference] ?? {}))
  if (operation.kind === 'local')
    return new Map(Object.entries(locals[`${build}/${operation.name}`] ?? locals[operation.name] ?? {}))
  if (operation.kind === 'http') return new Map([['/file', downloads[operation.url] ?? '']])
  if (operation.kind === 'merge')
    return new Map(vertex.inputs.flatMap((_, index) => [...filesOf(vertex, index)]))
  if (operation.kind === 'file')
    return new Map([
      ...filesOf(vertex, operation.base),
      ...operation.actions.flatMap(action => [
        ...copyFiles(action, filesOf(vertex, action.kind === 'copy' ? action.from : undefined)),
      ]),
    ])
  if (operation.kind !== 'exec') return new Map()
  const seen = mountPaths(operation.mounts).map(({ input, source }) => part(filesOf(vertex, input), source))
  return new Map([...filesOf(vertex, 0), ...execFiles(vertex, seen)])
}
