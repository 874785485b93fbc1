import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { BuildContainers } from '../src/api/buildkit/buildContainers.ts'
import { buildkitServices } from '../src/api/buildkit/services.ts'
import type {
  Build,
  Builder,
  BuildRequest,
  BuildResult,
  SolveRequest,
  StatusEvent,
} from '../src/api/buildkit/types.ts'
import { readAttributes } from '../src/build/frontend/attributes.ts'
import { definitionOfResult } from '../src/build/frontend/definition.ts'
import { readInputs } from '../src/build/frontend/inputs.ts'
import { GraphBuilder } from '../src/build/graph/builder.ts'
import type { Vertex } from '../src/build/graph/types.ts'
import type { SourceExcerpt } from '../src/build/solver/progress.ts'
import { BerthError, notFound } from '../src/core/errors.ts'
import { startBuilder, type TestBuilder } from './harness/builder.ts'

type Tell = (event: StatusEvent) => void
interface Script {
  solve?: (request: SolveRequest, tell: Tell, signal: AbortSignal) => Promise<BuildResult>
  finish?: (result: BuildResult, tell: Tell) => Promise<Record<string, string>>
  /** Hears of each build that is not internal. */
  begun?: (request: BuildRequest) => void
  disposed?: () => void
}

class LocatedError extends BerthError {
  readonly sources: SourceExcerpt[]

  constructor(message: string, sources: SourceExcerpt[]) {
    super('dockerfile', 400, message)
    this.sources = sources
  }
}

const absent = async (): Promise<never> => {
  throw notFound('no such file')
}

const maker = new GraphBuilder()
const madeGraph = maker.graph(
  maker.add({
    operation: { kind: 'image', reference: 'docker.io/library/alpine:latest', resolve: 'default' },
    inputs: [],
    platform: { os: 'linux', architecture: 'amd64' },
    step: { name: 'made' },
  }),
)

const buildOf = (script: Script, request: BuildRequest, tell: Tell): Build => ({
  containers: new BuildContainers({ treeOf: absent, make: absent }),
  solve: (solved, signal) =>
    script.solve?.(solved, tell, signal) ?? Promise.resolve({ ref: 'r', metadata: {} }),
  definition: ref => definitionOfResult(madeGraph, { id: ref }),
  evaluate: async () => {},
  readFile: absent,
  readDirectory: absent,
  statFile: absent,
  resolveImage: absent,
  finish: async result => (request.isInternal ? {} : ((await script.finish?.(result, tell)) ?? {})),
  [Symbol.asyncDispose]: async () => {
    if (!request.isInternal) script.disposed?.()
  },
})

const usage = {
  id: 'aaaa',
  isMutable: false,
  isInUse: false,
  isShared: true,
  size: 4096n,
  parents: [],
  createdAt: 1_000_000_000_000_000_000n,
  usageCount: 3n,
  description: 'mount / from exec /bin/sh -c true',
  type: 'regular',
}

const start = async (script: Script): Promise<TestBuilder & { context: string }> => {
  const builder = await startBuilder({
    routes: (router, sessions) => {
      const fake: Builder = {
        sessions,
        version: { package: 'berth', version: 'v0.1.0', revision: 'test' },
        workers: () => [
          {
            id: 'worker',
            labels: { 'org.mobyproject.buildkit.worker.executor': 'test' },
            platforms: [{ os: 'linux', architecture: 'amd64' }],
            collection: [],
          },
        ],
        begin: (request, tell) => {
          if (!request.isInternal) script.begun?.(request)
          return buildOf(script, request, tell)
        },
        sourcesOf: error => (error instanceof LocatedError ? error.sources : []),
        usage: async () => [usage],
        async *prune() {
          yield usage
        },
      }
      buildkitServices(fake)(router)
    },
  })
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\nRUN one\nRUN two\nCOPY . /\n')
  return { ...builder, [Symbol.asyncDispose]: () => builder[Symbol.asyncDispose](), context }
}

const vertex = (digit: string, name: string, inputs: Vertex[] = []): Vertex => ({
  digest: `sha256:${digit.repeat(64)}`,
  inputs: inputs.map(input => ({ vertex: input.digest, index: 0 })),
  operation: { kind: 'merge' },
  platform: { os: 'linux', architecture: 'amd64' },
  step: { name },
})

const at = (seconds: number): bigint => 1_700_000_000_000_000_000n + BigInt(seconds * 1e9)

test('steps, their output and warnings are shown, and what was exported', async () => {
  const asked: (SolveRequest | BuildRequest)[] = []
  const disposed = Promise.withResolvers<void>()
  const base = vertex('1', '[1/2] FROM docker.io/library/busybox')
  const run = vertex('2', '[2/2] RUN make', [base])
  await using builder = await start({
    begun: request => asked.push(request),
    disposed: disposed.resolve,
    solve: async (request, tell) => {
      asked.push(request)
      const part = { id: 'sha256:abc', name: 'downloading', current: 5, total: 10, startedAt: at(0) }
      tell({ kind: 'vertex', vertex: base, state: 'running', startedAt: at(0) })
      tell({ kind: 'status', time: at(0), vertex: base.digest, part })
      tell({
        kind: 'status',
        time: at(0),
        vertex: base.digest,
        part: { ...part, current: 10, completedAt: at(1) },
      })
      tell({ kind: 'vertex', vertex: base, state: 'cached', startedAt: at(0), completedAt: at(1) })
      tell({ kind: 'vertex', vertex: run, state: 'running', startedAt: at(1) })
      for (const line of ['making\n', 'half a ', 'line\n'])
        tell({ kind: 'output', vertex: run.digest, stream: 'stdout', bytes: Buffer.from(line), time: at(2) })
      tell({ kind: 'vertex', vertex: run, state: 'done', startedAt: at(1), completedAt: at(3.5) })
      tell({
        kind: 'check',
        vertex: run.digest,
        level: 1,
        short: 'StageNameCasing: Stage name should be lowercase',
        detail: ['Stage names should be lowercase'],
        url: 'https://example.org/rule',
      })
      return { ref: 'the-ref', metadata: { 'containerimage.config': Buffer.from('{}') } }
    },
    finish: async ({ ref, metadata }) => {
      assert.deepEqual(
        [ref, Buffer.from(metadata['containerimage.config'] ?? '').toString()],
        ['the-ref', '{}'],
      )
      return { 'containerimage.digest': `sha256:${'9'.repeat(64)}` }
    },
  })
  const file = path.join(builder.base, 'id')
  const args = ['build', '--progress=plain', '--build-arg', 'A=b', '-t', 'name:tag', '--metadata-file', file]
  const { code, stderr } = await builder.docker([...args, builder.context])
  assert.equal(code, 0, stderr)
  assert.match(stderr, /#\d+ \[1\/2\] FROM docker\.io\/library\/busybox\n/)
  assert.match(stderr, /#\d+ CACHED/)
  assert.match(stderr, /#\d+ 1\.000 making\n#\d+ 1\.000 half a line\n/)
  assert.match(stderr, /#\d+ DONE 2\.5s/)
  assert.match(stderr, /1 warning found/)
  await disposed.promise
  const [begun, solved] = asked as [BuildRequest, SolveRequest]
  assert.equal(begun.exporters[0]?.attributes['name'], 'name:tag')
  assert.equal(solved.frontend, 'dockerfile.v0')
  assert.equal(solved.options['build-arg:A'], 'b')
})

test('an error of a Dockerfile shows its lines, and nothing before its words', async () => {
  await using builder = await start({
    solve: async () => {
      const text = Buffer.from('FROM scratch\nRUN one\nRUN two\nCOPY . /\n')
      const ranges = [{ start: { line: 3, character: 0 }, end: { line: 3, character: 7 } }]
      throw new LocatedError('dockerfile parse error on line 3: unknown', [
        { file: 'Dockerfile', text, language: 'Dockerfile', ranges },
      ])
    },
  })
  const { code, stderr } = await builder.docker(['build', '--progress=plain', builder.context])
  assert.equal(code, 1)
  assert.match(stderr, /Dockerfile:3\n-+\n +1 \| +FROM scratch\n +2 \| +RUN one\n +3 \| >>> RUN two\n/)
  assert.match(stderr, /ERROR: failed to solve: dockerfile parse error on line 3: unknown\n/)
})

test('a step that fails is shown with its output', async () => {
  const run = vertex('3', '[2/2] RUN false')
  await using builder = await start({
    solve: async (_request, tell) => {
      const error = 'process "/bin/sh -c false" did not complete successfully: exit code: 1'
      tell({ kind: 'vertex', vertex: run, state: 'running', startedAt: at(0) })
      const bytes = Buffer.from('it broke\n')
      tell({ kind: 'output', vertex: run.digest, stream: 'stderr', bytes, time: at(1) })
      tell({ kind: 'vertex', vertex: run, state: 'failed', startedAt: at(0), completedAt: at(1), error })
      throw new BerthError('step-failed', 500, error)
    },
  })
  const { code, stderr } = await builder.docker(['build', '--progress=plain', builder.context])
  assert.equal(code, 1)
  assert.match(stderr, /------\n > \[2\/2\] RUN false:\n1\.000 it broke\n------\n/)
  // Two calls of the client end by this error at once: the one that is slower is not told.
  assert.match(
    stderr,
    /ERROR: failed to (solve|run Build function): process "\/bin\/sh -c false" did not complete successfully: exit code: 1\n/,
  )
})

test('an export that fails', async () => {
  await using builder = await start({
    finish: async () => {
      throw new BerthError('full', 500, 'failed to copy: no space left on device')
    },
  })
  const { code, stderr } = await builder.docker(['build', '--progress=plain', builder.context])
  assert.equal(code, 1)
  assert.match(stderr, /ERROR: failed to solve: failed to copy: no space left on device\n/)
})

test('a source policy is refused, as nobody keeps it', async () => {
  await using builder = await start({})
  const policy = path.join(builder.base, 'policy.json')
  writeFileSync(
    policy,
    JSON.stringify({ rules: [{ action: 'DENY', selector: { identifier: 'docker-image://*' } }] }),
  )
  const env = { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: policy }
  const { code, stderr } = await builder.docker(['build', builder.context], { env })
  assert.equal(code, 1)
  assert.match(stderr, /a source policy is not implemented/)
})

test('what a subrequest answers is printed', async () => {
  let id: string | undefined
  await using builder = await start({
    solve: async ({ options }) => {
      id = options['requestid']
      const metadata = {
        'result.txt': 'TARGET\nbuild\n',
        'result.json': '{"targets":[{"name":"build"}]}',
        version: '1.0.0',
      }
      return {
        metadata: Object.fromEntries(
          Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text)]),
        ),
      }
    },
  })
  const env = { BUILDX_EXPERIMENTAL: '1' }
  const args = ['buildx', 'build', '--print=targets', builder.context]
  const { code, stdout, stderr } = await builder.docker(args, { env })
  assert.equal(code, 0, stderr)
  assert.equal(id, 'frontend.targets')
  assert.match(stdout, /build/)
})

test('the result of one target comes back as a context of another', async () => {
  const solved: SolveRequest[] = []
  const disposed: string[] = []
  await using builder = await start({
    disposed: () => disposed.push('one'),
    solve: async request => {
      const isBase = request.options['target'] === 'base'
      if (!isBase) assert.deepEqual(disposed, [], 'the base is held')
      solved.push(request)
      const config = Buffer.from('{"architecture":"amd64","os":"linux"}')
      return { ref: isBase ? 'of-base' : 'of-app', metadata: { 'containerimage.config': config } }
    },
  })
  const target = { context: builder.context, dockerfile: 'Dockerfile' }
  const file = path.join(builder.base, 'bake.json')
  const app = { ...target, target: 'app', contexts: { base: 'target:base' } }
  writeFileSync(file, JSON.stringify({ target: { base: { ...target, target: 'base' }, app } }))
  const { code, stderr } = await builder.docker(['buildx', 'bake', '--progress=plain', '-f', file, 'app'])
  assert.equal(code, 0, stderr)
  const { options, inputs } = solved.find(({ options: { target: name } }) => name === 'app') ?? {}
  const [, name] = options?.['context:base']?.split(/:(.*)/s) ?? []
  const lent: string[] = []
  const host = {
    session: 's',
    planned: () => undefined,
    past: () => undefined,
    lent: (id: string) => {
      lent.push(id)
      return { name: 'made' }
    },
  }
  const attributes = readAttributes(options ?? {})
  const found = readInputs(inputs ?? {}, attributes, host)[name ?? '']
  assert.deepEqual(lent, ['of-base'])
  assert.equal(found?.image?.architecture, 'amd64')
  assert.deepEqual(
    [...(found?.graph.vertices.values() ?? [])].map(({ operation }) => operation.kind),
    ['result'],
  )
})

test('a client that leaves ends its build', async () => {
  const client = new AbortController()
  const ended = Promise.withResolvers<void>()
  const disposed = Promise.withResolvers<void>()
  await using builder = await start({
    disposed: disposed.resolve,
    solve: (_request, _tell, signal) => {
      signal.addEventListener('abort', () => ended.resolve(), { once: true })
      client.abort()
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
  })
  await builder.docker(['build', builder.context], { kill: client.signal })
  await Promise.all([ended.promise, disposed.promise])
})

test('the builder and its cache are listed', async () => {
  await using builder = await start({})
  const used = await builder.docker(['buildx', 'du'])
  assert.match(used.stdout, /aaaa\*?\s+true\s+4\.096kB/, used.stderr)
  const inspected = await builder.docker(['buildx', 'inspect'])
  assert.match(inspected.stdout, /Platforms: +linux\/amd64/, inspected.stderr)
  assert.match(inspected.stdout, /v0\.1\.0/)
  const pruned = await builder.docker(['buildx', 'prune', '-f'])
  assert.match(pruned.stdout, /Total:\s+4\.096kB/, pruned.stderr)
})
