import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Edge, ExecMount, Graph, Step } from '../graph/types.ts'
import { arm64 } from '../plan/testing/fixture.ts'
import { type Bench, benchOf, build } from './testing/builds.ts'
import { execOf, Script, vertexOf } from './testing/graphs.ts'
import type { Cause } from './why.ts'

/** Builds twice, and tells why steps ran the second time. */

const outside = () => ({
  images: { alpine: { '/bin/sh': 'sh' }, debian: { '/bin/sh': 'bash' } },
  locals: { context: { '/src/a': '1', '/src/b': '1', '/other': '1' } },
})

const causesOf = async (bench: Bench, graph: Graph): Promise<Record<string, Cause[]>> => {
  const { events } = await build(bench, graph)
  const names = new Map([...graph.vertices.values()].map(({ digest, step }) => [digest, step.name]))
  return Object.fromEntries(
    events.flatMap(event =>
      event.kind === 'causes' ? [[names.get(event.vertex) ?? '', event.causes] as const] : [],
    ),
  )
}

const graphOf = (make: (script: Script) => Edge): Graph => {
  const script = new Script()
  return script.graph(make(script))
}

const [first, second] = ['[build 1/2] ', '[build 2/2] ']
const named = (name: string): Partial<Step> => ({ name, described: name.replace(/^\[.*?\] /, '') })

const twice = async (before: (script: Script) => Edge, after: (script: Script) => Edge) => {
  const bench = await benchOf(outside())
  await build(bench, graphOf(before))
  return await causesOf(bench, graphOf(after))
}

test('a step like which none was made is the first', async () => {
  const bench = await benchOf(outside())
  const causes = await causesOf(
    bench,
    graphOf(script => script.run(script.image('alpine'), 'make')),
  )
  assert.deepEqual(causes, { 'RUN make': [{ kind: 'first' }] })
})

test('the instruction', async () => {
  const run = (command: string) => (script: Script) =>
    script.run(script.image('alpine'), command, { step: named(`${first}RUN ${command}`) })
  assert.deepEqual(await twice(run('make'), run('make all')), {
    '[build 1/2] RUN make all': [{ kind: 'instruction', before: 'make', after: 'make all' }],
  })
})

test('the instruction of a copy', async () => {
  const copy = (source: string) => (script: Script) =>
    script.copy(script.image('alpine'), script.local(), [source, '/x'], named(`${first}COPY ${source} /x`))
  const causes = await twice(copy('/src/a'), copy('/other'))
  assert.deepEqual(causes['[build 1/2] COPY /other /x']?.[0], {
    kind: 'instruction',
    before: 'COPY /src/a /x',
    after: 'COPY /other /x',
  })
})

test('a variable', async () => {
  const run =
    (...env: string[]) =>
    (script: Script) =>
      script.run(script.image('alpine'), 'make', { env })
  assert.deepEqual(await twice(run('V=1', 'SAME=1'), run('V=2', 'SAME=1', 'NEW=x=y')), {
    'RUN make': [
      { kind: 'variable', name: 'V', before: '1', after: '2' },
      { kind: 'variable', name: 'NEW', after: 'x=y' },
    ],
  })
})

test('a build argument', async () => {
  const run = (value: string) => (script: Script) =>
    script.run(script.image('alpine'), 'make', {
      env: [`V=${value}`, 'PATH=/bin'],
      step: { name: `${first}RUN make`, described: `RUN |1 V=${value} /bin/sh -c make` },
    })
  assert.deepEqual(await twice(run('1'), run('2')), {
    '[build 1/2] RUN make': [{ kind: 'argument', name: 'V', before: '1', after: '2' }],
  })
})

test('a build argument that is new, and one that is not given any more', async () => {
  const run = (env: string[], given: string) => (script: Script) =>
    script.run(script.image('alpine'), 'make', {
      env: [...env, 'PATH=/bin'],
      step: { name: `${first}RUN make`, described: `RUN ${given}/bin/sh -c make` },
    })
  const [without, withOne] = [run([], ''), run(['V=1'], '|1 V=1 ')]
  assert.deepEqual(await twice(without, withOne), {
    '[build 1/2] RUN make': [{ kind: 'argument', name: 'V', after: '1' }],
  })
  assert.deepEqual(await twice(withOne, without), {
    '[build 1/2] RUN make': [{ kind: 'argument', name: 'V', before: '1' }],
  })
})

test('several things at once, each of them', async () => {
  const bench = await benchOf(outside())
  const graph = (value: string) =>
    graphOf(script =>
      script.run(script.image('alpine'), 'make', { env: [`V=${value}`], mounts: [[script.local(), '/src']] }),
    )
  await build(bench, graph('1'))
  bench.world.outside.locals['context'] = { '/src/a': '2', '/src/b': '1' }
  const causes = (await causesOf(bench, graph('2')))['RUN make'] ?? []
  assert.deepEqual(
    causes.map(cause => [cause.kind, 'path' in cause ? cause.path : 'name' in cause ? cause.name : '']),
    [
      ['variable', 'V'],
      ['file', 'src/a'],
    ],
  )
})

test('files, by their paths, with digests', async () => {
  const bench = await benchOf(outside())
  const graph = () => graphOf(script => script.copy(script.image('alpine'), script.local(), ['/src', '/x']))
  await build(bench, graph())
  bench.world.outside.locals['context'] = { '/src/a': '2', '/src/c': '1', '/other': '2' }
  const causes = (await causesOf(bench, graph()))['COPY /src /x']
  assert.deepEqual(
    causes?.map(cause => (cause.kind === 'file' ? `${cause.change} ${cause.path} of ${cause.from}` : cause)),
    ['changed src/a', 'removed src/b', 'added src/c'].map(text => `${text} of [internal] load context`),
  )
  const [changed] = causes ?? []
  assert.ok(changed?.kind === 'file' && changed.before && changed.after && changed.before !== changed.after)
})

test('content, where there are too many files to tell', async () => {
  const bench = await benchOf(outside())
  bench.world.tellsFiles = false
  const graph = () => graphOf(script => script.copy(script.image('alpine'), script.local(), ['/src', '/x']))
  await build(bench, graph())
  bench.world.outside.locals['context'] = { '/src/a': '2' }
  assert.deepEqual(await causesOf(bench, graph()), {
    'COPY /src /x': [{ kind: 'content', role: 'files copied', from: '[internal] load context' }],
  })
})

test('a result whose files were lost', async () => {
  const bench = await benchOf(outside())
  const graph = () => graphOf(script => script.run(script.image('alpine'), 'make'))
  const { tree } = await build(bench, graph())
  const top = tree.layers.at(-1)
  bench.world.layers.delete(top?.kind === 'snapshot' ? top.id : '')
  assert.deepEqual(await causesOf(bench, graph()), { 'RUN make': [{ kind: 'lost' }] })
})

test('what it stands on, and only there what changed', async () => {
  const two = (image: string) => (script: Script) =>
    script.run(script.run(script.image(image), 'one', { step: named(`${first}RUN one`) }), 'two', {
      step: named(`${second}RUN two`),
    })
  assert.deepEqual(await twice(two('alpine'), two('debian')), {
    '[build 1/2] RUN one': [{ kind: 'parent', role: 'files below', from: 'FROM debian' }],
    '[build 2/2] RUN two': [{ kind: 'parent', role: 'files below', from: '[build 1/2] RUN one' }],
  })
})

const withOperation =
  (own: Parameters<typeof execOf>[0], platform = arm64) =>
  (script: Script) =>
    script.builder.add(
      vertexOf({
        operation: execOf(own),
        inputs: [script.image('alpine')],
        platform,
        step: { name: 'RUN make', described: 'RUN make' },
      }),
    )

test('a mount', async () => {
  const [root] = execOf().mounts
  assert.ok(root)
  const size = (bytes: number) =>
    withOperation({ mounts: [root, { kind: 'tmpfs', target: '/tmp', readOnly: false, size: bytes }] })
  const causes = await twice(size(1), size(2))
  assert.deepEqual(
    causes['RUN make']?.map(cause => [cause.kind, 'target' in cause && cause.target]),
    [['mount', '/tmp']],
  )
})

test('a mount that is new, one that is gone, and one of another kind', async () => {
  const [root] = execOf().mounts
  assert.ok(root)
  const plain = withOperation({ mounts: [root] })
  const tmpfs = withOperation({ mounts: [root, { kind: 'tmpfs', target: '/m', readOnly: false }] })
  const cache: ExecMount = {
    kind: 'cache',
    ...{ target: '/m', readOnly: false, id: 'm', input: undefined, source: '/' },
    sharing: 'shared',
  }
  const kept = withOperation({ mounts: [root, cache] })
  const told = async (...pair: Parameters<typeof twice>) =>
    ((await twice(...pair))['RUN make'] ?? []).map(cause => [
      cause.kind,
      'target' in cause && cause.target,
      'before' in cause,
      'after' in cause,
    ])
  assert.deepEqual(await told(plain, tmpfs), [['mount', '/m', false, true]])
  assert.deepEqual(await told(tmpfs, plain), [['mount', '/m', true, false]])
  assert.deepEqual(await told(tmpfs, kept), [['mount', '/m', true, true]])
})

test('what is bound to it', async () => {
  const bench = await benchOf(outside())
  const graph = () =>
    graphOf(script => script.run(script.image('alpine'), 'make', { mounts: [[script.local(), '/src']] }))
  await build(bench, graph())
  bench.world.outside.locals['context'] = { '/src/a': '2', '/src/b': '1' }
  const [cause] = (await causesOf(bench, graph()))['RUN make'] ?? []
  assert.ok(cause?.kind === 'file')
  assert.deepEqual([cause.role, cause.path, cause.change], ['bind /mnt/0', 'src/a', 'changed'])
})

test('the platform', async () => {
  const causes = await twice(withOperation({}), withOperation({}, { os: 'linux', architecture: 'amd64' }))
  assert.deepEqual(causes['RUN make'], [{ kind: 'platform', before: 'linux/arm64', after: 'linux/amd64' }])
})

test('another setting', async () => {
  const causes = await twice(withOperation({ directory: '/a' }), withOperation({ directory: '/b' }))
  assert.deepEqual(causes['RUN make'], [{ kind: 'setting', name: 'directory', before: '/a', after: '/b' }])
})

test('--no-cache', async () => {
  const run = (ignoreCache: boolean) => (script: Script) =>
    script.run(script.image('alpine'), 'make', { step: { ignoreCache } })
  assert.deepEqual(await twice(run(false), run(true)), { 'RUN make': [{ kind: 'ignored' }] })
})

test('what stands on a step that was to be made anew', async () => {
  const two = (ignoreCache: boolean) => (script: Script) =>
    script.run(script.run(script.image('alpine'), 'one', { step: { ignoreCache } }), 'two')
  assert.deepEqual(await twice(two(false), two(true)), {
    'RUN one': [{ kind: 'ignored' }],
    'RUN two': [{ kind: 'parent', role: 'files below', from: 'RUN one' }],
  })
})

test('a result that was pruned', async () => {
  const bench = await benchOf(outside())
  const graph = () => graphOf(script => script.run(script.image('alpine'), 'make'))
  await build(bench, graph())
  await new Promise(resolve => setImmediate(resolve))
  await bench.cache.remove(
    [...bench.cache.all()].map(({ id }) => id),
    'pruned',
  )
  assert.deepEqual(await causesOf(bench, graph()), { 'RUN make': [{ kind: 'pruned' }] })
})

test('the nearest is the one that does the same, then the one at the same place, then the newest', async () => {
  const bench = await benchOf(outside())
  const run = (command: string, place: string, image = 'alpine') =>
    graphOf(script => script.run(script.image(image), command, { step: named(`${place}RUN ${command}`) }))
  await build(bench, run('same', '[x 1/1] '))
  await build(bench, run('other', '[y 1/1] '))
  const same = await causesOf(bench, run('same', '[y 1/1] ', 'debian'))
  assert.deepEqual(Object.values(same), [[{ kind: 'parent', role: 'files below', from: 'FROM debian' }]])
  const placed = await causesOf(bench, run('new', '[x 1/1] '))
  assert.deepEqual(Object.values(placed)[0]?.[0], { kind: 'instruction', before: 'same', after: 'new' })
})
