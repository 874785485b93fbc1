import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GraphBuilder } from './graph/builder.ts'
import type { Graph, VertexDigest } from './graph/types.ts'
import { Lending, type LentResult } from './lending.ts'

const graphOf = (reference: string): Graph => {
  const builder = new GraphBuilder()
  const operation = { kind: 'image', reference, resolve: 'default' } as const
  const platform = { os: 'linux', architecture: 'amd64' }
  return builder.graph(builder.add({ operation, inputs: [], platform, step: { name: reference } }))
}
const resultOf = (graph: Graph): LentResult => ({
  graph,
  step: { name: 'made' },
  made: async () => ({ tree: { layers: [] }, mark: {} }),
})
const vertexOf = ({ result }: Graph): VertexDigest => result?.vertex ?? assert.fail()

test('a result is lent until its build has ended, and its graph is known afterwards', () => {
  const lending = new Lending()
  const [build, other] = [{}, {}]
  const graph = graphOf('one')
  lending.lend('a', resultOf(graph), build)
  lending.lend('b', resultOf(graphOf('two')), other)
  assert.equal(lending.get('a').graph, graph)
  assert.equal(lending.past(vertexOf(graph)), undefined)
  lending.ended(build)
  assert.equal(lending.find('a'), undefined)
  assert.throws(() => lending.get('a'), /the result a of another build is not there any more/)
  assert.equal(lending.past(vertexOf(graph)), graph)
  assert.ok(lending.find('b'))
})

test('of builds that have ended the newest graphs are known, each once', () => {
  const lending = new Lending()
  const graphs = Array.from({ length: 20 }, (_, number) => graphOf(String(number)))
  const end = (graph: Graph): void => {
    const build = {}
    lending.lend(vertexOf(graph), resultOf(graph), build)
    lending.ended(build)
  }
  for (const graph of graphs) {
    end(graphOf('0'))
    end(graph)
  }
  const known = graphs.filter(graph => lending.past(vertexOf(graph)) !== undefined)
  assert.deepEqual(
    known.map(({ vertices }) => [...vertices.values()].map(({ step }) => step.name)[0]),
    ['0', ...Array.from({ length: 15 }, (_, number) => String(number + 5))],
  )
})
