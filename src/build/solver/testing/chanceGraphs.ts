import fc from 'fast-check'
import type { Edge, Graph } from '../../graph/types.ts'
import { Script } from './graphs.ts'
import type { Outside } from './world.ts'

/** Graphs by chance, of which no step fails by itself. */

export const paths = ['/a', '/b', '/dir/c'] as const

/** One step: which earlier ones it takes, by numbers that are taken modulo how many there are. */
type Line = {
  kind: 'run' | 'copy' | 'fresh' | 'bind' | 'merge'
  base: number
  other: number
  path: number
  anew: boolean
}

const line = (anew: boolean): fc.Arbitrary<Line> =>
  fc.record({
    kind: fc.constantFrom('run', 'copy', 'fresh', 'bind', 'merge'),
    base: fc.nat(20),
    other: fc.nat(20),
    path: fc.nat(2),
    anew: anew ? fc.boolean() : fc.constant(false),
  })

/** All paths are there in all sources, so that no copy fails by itself. */
export const graphOf = (lines: readonly Line[]): Graph => {
  const script = new Script()
  const edges: Edge[] = [script.image('alpine'), script.local(), script.image('debian')]
  const at = (index: number): Edge => edges[index % edges.length] ?? { vertex: 'sha256:', index: 0 }
  for (const [number, { kind, base, other, path, anew }] of lines.entries()) {
    const step = anew ? { ignoreCache: true } : {}
    const source = paths[path] ?? '/a'
    if (kind === 'run') edges.push(script.run(at(base), `${number}`, { step }))
    else if (kind === 'bind')
      edges.push(script.run(at(base), `${number}`, { step, mounts: [[at(other), source]] }))
    else if (kind === 'copy') edges.push(script.copy(at(base), at(other), [source, source], step))
    // With the same paths again, for those that copy of it.
    else if (kind === 'fresh') edges.push(script.copy(undefined, at(other), ['/', '/'], step))
    else edges.push(script.merge(at(base), at(other)))
  }
  return script.graph(edges.at(-1) ?? at(0))
}

const folder = (text: string) => ({ '/a': text, '/b': text, '/dir/c': text })

export const outsideOf = (): Outside => ({
  images: { alpine: folder('alpine'), debian: folder('debian') },
  locals: { context: folder('1') },
  downloads: {},
})

export const lines = (anew: boolean) => fc.array(line(anew), { minLength: 1, maxLength: 12 })
