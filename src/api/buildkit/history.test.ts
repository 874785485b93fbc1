import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect'
import type { Vertex } from '../../build/graph/types.ts'
import { BuildHistory } from '../../build/history/history.ts'
import { defaultLimits } from '../../build/history/limits.ts'
import { Sessions } from '../../build/session/sessions.ts'
import { SolveError } from '../../build/solver/errors.ts'
import { badRequest } from '../../core/errors.ts'
import { digestOf, isDigest } from '../../oci/digest.ts'
import { Content } from '../../wire/buildkit/content_pb.ts'
import { BuildHistoryEventType, Control } from '../../wire/buildkit/control_pb.ts'
import { DefinitionSchema } from '../../wire/buildkit/ops_pb.ts'
import { StatusSchema } from '../../wire/buildkit/status_pb.ts'
import { BuildContainers } from './buildContainers.ts'
import { buildkitServices } from './services.ts'
import type { Build, Builder, StatusEvent } from './types.ts'

/** What `buildx history` asks, of builds that say what a test tells them. */

const { STARTED, COMPLETE, DELETED } = BuildHistoryEventType

const vertex: Vertex = {
  digest: `sha256:${'1'.repeat(64)}`,
  inputs: [],
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: 'amd64' },
  step: { name: '[2/2] RUN make' },
}

type Script = (tell: (event: StatusEvent) => void) => Promise<Record<string, string>>

const unused = (): never => assert.fail('nobody asks for it')

const buildOf = (script: Script, tell: (event: StatusEvent) => void): Build => ({
  containers: new BuildContainers({ treeOf: unused, make: unused }),
  solve: async () => ({ ref: 'r', metadata: {} }),
  definition: () => create(DefinitionSchema),
  ...{ evaluate: unused, readFile: unused, readDirectory: unused, statFile: unused, resolveImage: unused },
  finish: () => script(tell),
  [Symbol.asyncDispose]: async () => {},
})

const doorOf = async (t: TestContext, script: Script) => {
  const root = mkdtempSync(path.join(tmpdir(), 'berth-history-'))
  t.after(() => rmSync(root, { recursive: true }))
  const history = await BuildHistory.open({
    ...{ root, limits: defaultLimits },
    onError: error => assert.fail(String(error)),
  })
  const sessions = new Sessions()
  t.after(() => sessions[Symbol.asyncDispose]())
  const builder: Builder = {
    sessions,
    version: { package: 'berth', version: 'v0', revision: '' },
    workers: () => [],
    begin: (_request, tell) => buildOf(script, tell),
    sourcesOf: () => [],
    usage: unused,
    prune: unused,
    history,
    blob: digest => history.blob(digest),
  }
  const transport = createRouterTransport(buildkitServices(builder))
  return { control: createClient(Control, transport), content: createClient(Content, transport) }
}

const run = async (tell: (event: StatusEvent) => void): Promise<void> => {
  tell({ kind: 'vertex', vertex, state: 'running', startedAt: 1n })
  const bytes = Buffer.from('making\n')
  tell({ kind: 'output', vertex: vertex.digest, stream: 'stdout', bytes, time: 2n })
  tell({ kind: 'vertex', vertex, state: 'done', startedAt: 1n, completedAt: 3n })
}

const image = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: digestOf('image'),
  size: 5,
}

const good: Script = async tell => {
  await run(tell)
  return { 'containerimage.descriptor': Buffer.from(JSON.stringify(image)).toString('base64') }
}

const solve = (ref: string) => ({
  ...{ ref, frontend: 'dockerfile.v0', frontendAttrs: { target: 'x' } },
  exporters: [{ type: 'moby', attrs: { name: 'a' } }],
})

test('a build that has been is listed with what it was asked for and gave', async t => {
  const { control } = await doorOf(t, good)
  await control.solve(solve('one'))
  await control.solve(solve('two'))
  await control.solve({ ...solve('inside'), internal: true })
  const events = await Array.fromAsync(control.listenBuildHistory({ earlyExit: true }))
  assert.deepEqual(
    events.map(({ type, record }) => [type, record?.ref]),
    [
      [COMPLETE, 'two'],
      [COMPLETE, 'one'],
    ],
  )
  const record = events[1]?.record
  assert.ok(record?.createdAt && record.completedAt && !record.error)
  assert.deepEqual(
    [record.frontend, record.frontendAttrs, record.exporters[0]?.attrs, record.numTotalSteps],
    ['dockerfile.v0', { target: 'x' }, { name: 'a' }, 1],
  )
  assert.equal(record.result?.results['0']?.digest, image.digest)
  const only = await Array.fromAsync(control.listenBuildHistory({ ref: 'one', earlyExit: true }))
  assert.equal(only.length, 1)
  const limited = await Array.fromAsync(control.listenBuildHistory({ limit: 1, earlyExit: true }))
  assert.deepEqual(
    limited.map(({ record: one }) => one?.ref),
    ['two'],
  )
  const failed = control.listenBuildHistory({ filter: ['status==error'], earlyExit: true })
  assert.deepEqual(await Array.fromAsync(failed), [])
})

test('its log is told again, and is read by its digest', async t => {
  const { control, content } = await doorOf(t, good)
  await control.solve(solve('one'))
  const told = await Array.fromAsync(control.status({ ref: 'one' }))
  assert.equal(Buffer.concat(told.flatMap(({ logs }) => logs.map(({ msg }) => msg))).toString(), 'making\n')
  const [event] = await Array.fromAsync(control.listenBuildHistory({ ref: 'one', earlyExit: true }))
  const { digest = '', size = 0n, mediaType } = event?.record?.logs ?? {}
  assert.equal(mediaType, 'application/vnd.buildkit.status.v0')
  assert.equal((await content.info({ digest })).info?.size, size)
  const pieces = await Array.fromAsync(content.read({ digest }))
  const bytes = Buffer.concat(pieces.map(({ data }) => data))
  assert.ok(isDigest(digest) && digestOf(bytes) === digest && bytes.length === Number(size))
  const part = await Array.fromAsync(content.read({ digest, offset: 3n, size: 4n }))
  assert.deepEqual(Buffer.concat(part.map(({ data }) => data)), bytes.subarray(3, 7))
  const code = (error: unknown): boolean => error instanceof ConnectError && error.code === Code.NotFound
  await assert.rejects(content.info({ digest: digestOf('none') }), code)
})

test('who listens hears of a build that begins, ends and is forgotten', async t => {
  const go = Promise.withResolvers<void>()
  const { control } = await doorOf(t, async tell => {
    await run(tell)
    await go.promise
    return {}
  })
  const leaving = new AbortController()
  const before = control.solve(solve('one'))
  const events = control.listenBuildHistory({}, { signal: leaving.signal })[Symbol.asyncIterator]()
  const next = async () => {
    const { value } = await events.next()
    return [value?.type, value?.record?.ref]
  }
  assert.deepEqual(await next(), [STARTED, 'one'])
  go.resolve()
  await before
  assert.deepEqual(await next(), [COMPLETE, 'one'])
  await control.updateBuildHistory({ ref: 'one', pinned: true })
  assert.deepEqual(await next(), [COMPLETE, 'one'])
  const [{ record } = {}] = await Array.fromAsync(control.listenBuildHistory({ earlyExit: true }))
  assert.deepEqual([record?.pinned, record?.generation], [true, 1])
  await control.updateBuildHistory({ ref: 'one', finalize: true })
  await control.updateBuildHistory({ ref: 'one', delete: true })
  assert.deepEqual(await next(), [DELETED, 'one'])
  leaving.abort()
  await assert.rejects(control.updateBuildHistory({ ref: 'one', delete: true }), /no record of a build one/)
})

test('an error is kept with the step that failed', async t => {
  const { control, content } = await doorOf(t, async tell => {
    await run(tell)
    throw new SolveError(vertex, badRequest('exit code: 1'))
  })
  await assert.rejects(control.solve(solve('bad')), /exit code: 1/)
  const [event] = await Array.fromAsync(control.listenBuildHistory({ earlyExit: true }))
  assert.equal(event?.record?.error?.message, 'exit code: 1')
  const { digest = '' } = event?.record?.externalError ?? {}
  const pieces = await Array.fromAsync(content.read({ digest }))
  const status = fromBinary(StatusSchema, Buffer.concat(pieces.map(({ data }) => data)))
  const [detail] = status.details
  assert.equal(detail?.typeUrl, 'github.com/moby/buildkit/errdefs.Vertex+json')
  assert.deepEqual(JSON.parse(Buffer.from(detail?.value ?? []).toString()), { digest: vertex.digest })
})
