import assert from 'node:assert/strict'
import { test } from 'node:test'
import { badRequest } from '../core/errors.ts'
import { GraphBuilder } from './graph/builder.ts'
import type { Graph } from './graph/types.ts'
import { type PlannedPlatform, PlannedResult, StepError } from './result.ts'
import { SolveError } from './solver/errors.ts'

const platform = { os: 'linux', architecture: 'amd64' }
const graph = ((): Graph => {
  const builder = new GraphBuilder()
  const base = builder.add({
    operation: { kind: 'image', reference: 'one', resolve: 'default' },
    ...{ inputs: [], platform, step: { name: 'base' } },
  })
  return builder.graph(
    builder.add({
      operation: { kind: 'merge' },
      ...{ inputs: [base], platform },
      step: { name: 'both', source: { file: 'Dockerfile', ranges: [{ start: 2, end: 3 }] } },
    }),
  )
})()
const source = { fileName: 'Dockerfile', text: 'FROM one' }
const image = { ...platform, rootfs: { type: 'layers' as const, diff_ids: [] } }
const planned: PlannedPlatform = { platform: 'linux/amd64', plan: { graph, image }, source }
const [base, both] = [...graph.vertices.values()]

test('a result is made once, and a part of it by itself', async () => {
  const made: string[] = []
  const result = new PlannedResult(planned, async ({ plan, platform: id }) => {
    made.push([...plan.graph.vertices.values()].map(({ step }) => step.name).join())
    return { platform: id, plan, tree: { layers: [] }, mark: {}, results: async () => [] }
  })
  assert.equal(result.step.name, 'both')
  assert.deepEqual(made, [])
  await Promise.all([result.made(), result.made()])
  await result.made()
  assert.deepEqual(made, ['base,both'])
  const part = result.part({ vertex: base?.digest ?? assert.fail(), index: 0 })
  assert.equal(part.step.name, 'base')
  await part.made()
  assert.deepEqual(made, ['base,both', 'base'])
})

test('a step that failed is told with its lines, and what it left is no part of the build', async () => {
  const result = new PlannedResult(planned, async () => {
    throw new SolveError(both ?? assert.fail(), badRequest('it did not work'))
  })
  await assert.rejects(result.made(), (error: unknown) => {
    assert.ok(error instanceof StepError)
    assert.deepEqual([error.message, error.lines], ['it did not work', [{ start: 2, end: 3 }]])
    return true
  })
  const tree = { layers: [{ kind: 'snapshot' as const, id: 'left' }] }
  const left = result.replaced(tree)
  assert.equal((await left.made()).tree, tree)
  assert.equal(left.graph.vertices.size, 0)
})
