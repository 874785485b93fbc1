import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Graph } from '../graph/types.ts'
import { plan } from '../plan/testing/fixture.ts'
import { type Bench, benchOf, build, ran } from './testing/builds.ts'

/** Graphs as Dockerfiles give them, over the model world. */

const graphOf = async (text: string, given: Record<string, string> = {}): Promise<Graph> =>
  (await plan(text, { arguments: given })).graph

const withImages = async (bench: Bench, graph: Graph): Promise<void> => {
  for (const { operation } of graph.vertices.values())
    if (operation.kind === 'image') bench.world.outside.images[operation.reference] = { '/bin/sh': 'sh' }
}

const built = async (bench: Bench, text: string, given?: Record<string, string>) => {
  const graph = await graphOf(text, given)
  await withImages(bench, graph)
  const { done, events } = await build(bench, graph)
  const names = new Map([...graph.vertices.values()].map(({ digest, step }) => [digest, step.name]))
  const causes = events.flatMap(event =>
    event.kind === 'causes'
      ? event.causes.map(({ kind, ...rest }) => [
          names.get(event.vertex)?.slice(0, 20),
          kind,
          'path' in rest ? rest.path : 'name' in rest ? rest.name : '',
        ])
      : [],
  )
  return { steps: ran(done).filter(name => !name.startsWith('[internal]')), causes }
}

const text = `
FROM alpine AS tools
RUN tools
FROM alpine
ARG VERSION=1
COPY src /src
RUN make
COPY --from=tools /made /tools
`

const files = { '/src/a': '1', '/src/b': '1', '/README': '1' }

test('a Dockerfile is built, found again, and tells what changed', async () => {
  const bench = await benchOf({ locals: { context: { ...files } } })
  const first = await built(bench, text)
  assert.deepEqual(first.steps.sort(), [
    '[stage-1 2/4] COPY src /src',
    '[stage-1 3/4] RUN make',
    '[stage-1 4/4] COPY --from=tools /made /tools',
    '[tools 2/2] RUN tools',
  ])
  assert.deepEqual((await built(bench, text)).steps, [])
  bench.world.outside.locals['context'] = { ...files, '/README': '2' }
  assert.deepEqual((await built(bench, text)).steps, [])
  bench.world.outside.locals['context'] = { ...files, '/src/b': '2' }
  assert.deepEqual((await built(bench, text)).causes, [
    ['[stage-1 2/4] COPY s', 'file', 'src/b'],
    ['[stage-1 3/4] RUN ma', 'parent', ''],
    ['[stage-1 4/4] COPY -', 'parent', ''],
  ])
  assert.deepEqual((await built(bench, text, { VERSION: '2' })).causes, [
    ['[stage-1 3/4] RUN ma', 'argument', 'VERSION'],
    ['[stage-1 4/4] COPY -', 'parent', ''],
  ])
})

test('files of a heredoc, and a copy as a layer of its own', async () => {
  const bench = await benchOf({ locals: { context: { ...files } } })
  const linked = (words: string) => `
FROM alpine
COPY --link src /src
COPY <<END /text
${words}
${words}
END
`
  await built(bench, linked('hello'))
  assert.deepEqual((await built(bench, linked('hello'))).steps, [])
  const { causes } = await built(bench, linked('bye'))
  assert.deepEqual(
    causes.filter(([, kind]) => kind === 'file').map(([, , path]) => path),
    ['END'],
  )
})
