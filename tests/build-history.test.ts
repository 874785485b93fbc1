import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { Socket } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { createClient, type Transport } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { Content } from '../src/wire/buildkit/content_pb.ts'
import { BuildHistoryEventType, type BuildHistoryRecord, Control } from '../src/wire/buildkit/control_pb.ts'
import { makeContext } from './harness/buildContexts.ts'
import { buildLog, builds, newestBuild } from './harness/buildHistory.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { type Outcome, until } from './harness/shell.ts'

/** What is kept of builds of the real client, whatever becomes of the daemon. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['build', '--progress=plain', ...options, folder])

/** `/grpc`, as BuildKit's clients turn it into HTTP/2. */
const upgraded = (): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const headers = { Host: 'docker', Connection: 'Upgrade', Upgrade: 'h2c' }
    const asked = request({ socketPath: daemon.socket, method: 'POST', path: '/grpc', headers })
    asked.once('upgrade', (_response, socket, ahead) => {
      // HTTP/2 begins right behind the answer.
      socket.unshift(ahead)
      resolve(socket as Socket)
    })
    asked.once('error', reject)
    asked.end()
  })

const withBuildKit = async (use: (transport: Transport) => Promise<void>): Promise<void> => {
  const socket = await upgraded()
  const sessionManager = new Http2SessionManager('http://localhost', {}, { createConnection: () => socket })
  try {
    await use(createGrpcTransport({ baseUrl: 'http://localhost', sessionManager }))
  } finally {
    sessionManager.abort()
    socket.destroy()
  }
}

test('a build is listed with who asked for what, its steps, why each ran, and its log', async () => {
  const folder = context(
    ['FROM busybox AS base', 'ARG WHO=nobody', 'RUN echo "hello $WHO"', 'COPY file /file', 'RUN cat /file'],
    { file: 'one\n' },
  )
  const secret = ['--secret', 'id=key,env=KEY']
  const env = { KEY: 'topsecret-1234' }
  const options = ['-t', 'recorded:1', '-t', 'recorded:2', '--build-arg', 'WHO=world', '--target', 'base']
  const first = await daemon.docker(['build', '-q', ...options, ...secret, folder], { env })
  assert.equal(first.code, 0, first.stderr)
  const record = await newestBuild(daemon)
  assert.deepEqual([record.Status, record.Client?.Remote], ['completed', 'unix'])
  assert.ok(record.Client?.Process?.Name)
  assert.deepEqual(record.Names, ['recorded:1', 'recorded:2'])
  assert.deepEqual([record.Attributes['build-arg:WHO'], record.Attributes['target']], ['world', 'base'])
  assert.equal(
    record.Result['containerimage.config.digest'],
    await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'recorded:1']),
  )
  const why = record.Steps.filter(({ Name }) => /^\[\d/.test(Name)).map(({ Name, Cached, Why }) => [
    Name.replace(/\] (\w+) .*/, '] $1'),
    Cached,
    Why.length > 0,
  ])
  assert.deepEqual(why.filter(([name]) => !/FROM/.test(`${name}`)).sort(), [
    ['[2/4] RUN', false, true],
    ['[3/4] COPY', false, true],
    ['[4/4] RUN', false, true],
  ])
  assert.match(
    await buildLog(daemon, record.Ref.slice(0, 12)),
    /#\d+ \[4\/4\] RUN cat \/file\n#\d+ one\n#\d+ DONE/,
  )
  assert.doesNotMatch(JSON.stringify(record) + (await buildLog(daemon, record.Ref)), /topsecret/)
  await build(
    context(['FROM busybox AS base', 'ARG WHO=nobody', 'RUN echo "hello $WHO"']),
    '--build-arg',
    'WHO=us',
  )
  const changed = (await newestBuild(daemon)).Steps.find(({ Name }) => Name.includes('RUN'))
  assert.deepEqual(changed?.Why, ['the build argument WHO was world and is us'])
})

test('a cached build is one small file, and a failed one tells of its step', async () => {
  const folder = context(['FROM busybox', 'RUN touch /x'])
  await build(folder)
  const kept = (): string[] => readdirSync(path.join(daemon.dataRoot, 'build', 'history'))
  const before = kept()
  await build(folder)
  const { StepCounts } = await newestBuild(daemon)
  assert.equal(kept().length, before.length + 1)
  assert.ok(StepCounts.Cached >= 1)
  assert.notEqual((await build(context(['FROM busybox', 'RUN echo why >&2; exit 3']))).code, 0)
  const failed = await newestBuild(daemon)
  assert.deepEqual([failed.Status, /exit code: 3/.test(failed.Error)], ['error', true])
  assert.match(failed.Steps.find(({ Name }) => Name.includes('exit 3'))?.Error ?? '', /exit code: 3/)
  assert.match(await buildLog(daemon, failed.Ref), /why\n#\d+ ERROR: .*exit code: 3/)
  const errors = await builds(daemon, '?filter=status%3D%3Derror')
  assert.deepEqual(errors.map(({ Ref }) => Ref).slice(0, 1), [failed.Ref])
})

test('a classic build is recorded, with the process that asked for it', async () => {
  const env = { DOCKER_BUILDKIT: '0' }
  const folder = context(['FROM busybox', 'RUN echo classic'])
  const { code, stderr } = await daemon.docker(['build', '-q', '-t', 'old', folder], { env })
  assert.equal(code, 0, stderr)
  const record = await newestBuild(daemon)
  assert.deepEqual([record.Status, record.Names, record.Client?.Remote], ['completed', ['old'], 'unix'])
  assert.ok(record.Client?.Process?.Name)
  assert.match(await buildLog(daemon, record.Ref), /#\d+ classic\n/)
})

test('BuildKit’s clients find it: history, log, content, pin and removal', async () => {
  await build(context(['FROM busybox', 'RUN echo told']), '-t', 'seen')
  await withBuildKit(async transport => {
    const control = createClient(Control, transport)
    const list = async (filter: string[] = []): Promise<BuildHistoryRecord[]> => {
      const events = await Array.fromAsync(control.listenBuildHistory({ earlyExit: true, filter }))
      return events.flatMap(({ record }) => (record ? [record] : []))
    }
    const [newest] = await list()
    const ref = newest?.ref ?? ''
    assert.equal(ref, (await newestBuild(daemon)).Ref)
    assert.ok(newest?.frontendAttrs['filename'])
    const told = await Array.fromAsync(control.status({ ref }))
    assert.match(Buffer.concat(told.flatMap(({ logs }) => logs.map(({ msg }) => msg))).toString(), /told\n/)
    const content = createClient(Content, transport)
    const { digest = '', size = 0n } = newest?.logs ?? {}
    assert.equal((await content.info({ digest })).info?.size, size)
    const bytes = Buffer.concat((await Array.fromAsync(content.read({ digest }))).map(({ data }) => data))
    assert.equal(bytes.length, Number(size))
    await control.updateBuildHistory({ ref, pinned: true })
    assert.equal((await list())[0]?.pinned, true)
    await control.updateBuildHistory({ ref, delete: true })
    assert.ok(!(await list()).some(record => record.ref === ref))
  })
})

test('who listens hears of a build from its beginning to its end', async () => {
  await withBuildKit(async transport => {
    const leaving = new AbortController()
    const listening = createClient(Control, transport).listenBuildHistory({}, { signal: leaving.signal })
    const events = listening[Symbol.asyncIterator]()
    // What is there already comes first.
    let left = (await builds(daemon)).length
    while (left-- > 0) await events.next()
    const building = build(context(['FROM busybox', 'RUN echo heard']))
    const started = (await events.next()).value
    const complete = (await events.next()).value
    await building
    assert.deepEqual(
      [started?.type, complete?.type, started?.record?.ref === complete?.record?.ref],
      [BuildHistoryEventType.STARTED, BuildHistoryEventType.COMPLETE, true],
    )
    leaving.abort()
  })
})

const hasSaid = (log: string): boolean => existsSync(log) && readFileSync(log).includes('begun\n')

test('a build that dies with the daemon is recorded as that, with what it had said', async () => {
  const folder = context(['FROM busybox', 'RUN echo begun; sleep 1000'])
  const building = build(folder)
  const history = path.join(daemon.dataRoot, 'build', 'history')
  /** On disk, so that it outlives the daemon. */
  const saidSo = async (): Promise<boolean> => {
    const [going] = await builds(daemon, '?filter=status%3D%3Drunning')
    const stems = readdirSync(history).flatMap(name => (name.endsWith('.open') ? [name.slice(0, -5)] : []))
    return going !== undefined && stems.some(stem => hasSaid(path.join(history, `${stem}.log`)))
  }
  await until('the build said something', saidSo)
  const [{ Ref } = { Ref: '' }] = await builds(daemon, '?filter=status%3D%3Drunning')
  const { Steps } = await newestBuild(daemon)
  assert.ok(Steps.some(({ Name, Why }) => Name.includes('sleep 1000') && Why.length > 0))
  await daemon.restart()
  await building
  const record = await newestBuild(daemon)
  assert.deepEqual([record.Ref, record.Status], [Ref, 'error'])
  assert.match(record.Error, /the daemon ended before the build did/)
  assert.match(await buildLog(daemon, Ref), /sleep 1000\n#\d+ begun\n/)
  assert.ok(readdirSync(history).every(name => /\.(?:json|log)$/.test(name)))
})

test('records are kept within what daemon.json says', async () => {
  const limits = { builder: { history: { maxEntries: 2 } } }
  writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify(limits))
  await daemon.restart()
  assert.equal((await builds(daemon)).length, 2)
  await build(context(['FROM busybox', 'RUN echo third']))
  assert.equal((await builds(daemon)).length, 2)
})
