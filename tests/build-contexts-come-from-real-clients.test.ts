import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'
import { clientStore } from '../src/build/session/content.ts'
import { ContextFolder } from '../src/build/session/contextSync.ts'
import { ContextWorker } from '../src/build/session/contextWorker.ts'
import { credentialsOf, hasTokenAuthority, tokenAuthority } from '../src/build/session/credentials.ts'
import { folderSource } from '../src/build/session/folderSource.ts'
import { readFiles } from '../src/build/session/readFiles.ts'
import { getSecret } from '../src/build/session/secrets.ts'
import { sendFile } from '../src/build/session/sendFile.ts'
import { sendTree } from '../src/build/session/sendTree.ts'
import type { Session } from '../src/build/session/session.ts'
import { checkAgent, forwardAgent } from '../src/build/session/ssh.ts'
import { fill, picture } from '../src/build/session/testing/folders.ts'
import type { ContextRequest, SyncedTree } from '../src/build/session/types.ts'
import { abandonable } from '../src/core/abort.ts'
import { digestOf } from '../src/oci/digest.ts'
import { Control } from '../src/wire/buildkit/control_pb.ts'
import { LLBBridge } from '../src/wire/buildkit/gateway_pb.ts'
import { startBuilder, type TestBuilder } from './harness/builder.ts'
import { type Outcome, until } from './harness/shell.ts'

type Work = (session: Session, signal: AbortSignal) => Promise<string>

/** Builds by the ref that ties calls to them; calls may come before the build. */
class Builds {
  readonly #builds = new Map<
    string,
    { session: PromiseWithResolvers<string>; over: PromiseWithResolvers<void> }
  >()

  begin(ref: string, session: string): Promise<void> {
    const build = this.#get(ref)
    build.session.resolve(session)
    return build.over.promise
  }

  sessionOf(headers: Headers): Promise<string> {
    return this.#get(headers.get('buildkit-controlapi-buildid') ?? '').session.promise
  }

  end(headers: Headers): void {
    this.#get(headers.get('buildkit-controlapi-buildid') ?? '').over.resolve()
  }

  #get(ref: string): { session: PromiseWithResolvers<string>; over: PromiseWithResolvers<void> } {
    return this.#builds.getOrInsertComputed(ref, () => ({
      session: Promise.withResolvers<string>(),
      over: Promise.withResolvers<void>(),
    }))
  }
}

/** A builder whose builds do what a test says, and then fail with a message of it, as the client shows that. */
const builderFor = async (work: Work, send?: (session: Session) => Promise<void>): Promise<TestBuilder> => {
  const builds = new Builds()
  // By this label a client takes caches to be exported, too.
  const labels = { 'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs' }
  const record = [{ id: 'worker', labels, platforms: [{ os: 'linux', architecture: 'amd64' }] }]
  // Without it clients do not say when a build is over.
  const frontendApiCaps = [{ id: 'return', enabled: true }]
  const builder: TestBuilder = await startBuilder({
    routes: (router: ConnectRouter) => {
      router.service(Control, {
        solve: async ({ ref, session, internal }, { signal }) => {
          await abandonable(signal, builds.begin(ref, session))
          if (!internal) await send?.(await builder.sessions.wait(session, signal))
          return {}
        },
        async *status() {},
        listWorkers: () => ({ record }),
      })
      router.service(LLBBridge, {
        ping: () => ({ workers: record, frontendApiCaps }),
        return: (_request, { requestHeader }) => {
          builds.end(requestHeader)
          return {}
        },
        solve: async (_request, { requestHeader, signal }) => {
          const session = await builder.sessions.wait(await builds.sessionOf(requestHeader), signal)
          if (send) return { result: { result: { case: 'ref', value: { id: 'result' } } } }
          try {
            const done = await work(session, signal).catch((error: Error) => error.message)
            throw new ConnectError(done, Code.FailedPrecondition)
          } finally {
            builds.end(requestHeader)
          }
        },
      })
    },
  })
  return builder
}

const told = ({ code, stderr }: Outcome): string => {
  assert.equal(code, 1, stderr)
  return /FailedPrecondition: (.*)/.exec(stderr)?.[1] ?? stderr
}

async function* given(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const worker = new ContextWorker()
test.after(() => worker[Symbol.asyncDispose]())

const summary = ({ entries, received }: SyncedTree): string =>
  `${entries.length} entries, ${received.files} files came with ${received.bytes} bytes`

const syncing =
  (folder: ContextFolder, request: Partial<ContextRequest> = {}): Work =>
  async (session, signal) =>
    summary(
      await folder.sync({
        session,
        signal,
        request: { name: 'context', differ: 'metadata', ...request },
      }),
    )

test('a real client sends a context, and the second time nothing of it', async () => {
  let work: Work = async () => ''
  await using builder = await builderFor((session, signal) => work(session, signal))
  const context = path.join(builder.base, 'context')
  const kept = path.join(builder.base, 'kept')
  mkdirSync(path.join(context, 'folder/deep'), { recursive: true })
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  writeFileSync(path.join(context, 'folder/deep/file'), 'content', { mode: 0o750 })
  writeFileSync(path.join(context, 'folder/ünï'), '')
  writeFileSync(path.join(context, 'folder.txt'), 'x')
  symlinkSync('folder/deep', path.join(context, 'link'))
  work = syncing(new ContextFolder(kept, worker))
  assert.equal(told(await builder.docker(['build', context])), '7 entries, 4 files came with 21 bytes')
  assert.equal(readFileSync(path.join(kept, 'folder/deep/file'), 'utf8'), 'content')
  assert.equal(readlinkSync(path.join(kept, 'link')), 'folder/deep')
  for (const name of ['folder/deep/file', 'folder/ünï', 'folder/deep', 'folder.txt']) {
    const [came, sent] = [kept, context].map(base => lstatSync(path.join(base, name), { bigint: true }))
    assert.deepEqual([came?.mode, came?.mtimeNs, came?.uid], [sent?.mode, sent?.mtimeNs, 0n], name)
  }
  assert.equal(told(await builder.docker(['build', context])), '0 entries, 0 files came with 0 bytes')
  // Another daemon knows only what is on the disk.
  work = syncing(new ContextFolder(kept, worker))
  assert.equal(told(await builder.docker(['build', context])), '7 entries, 0 files came with 0 bytes')

  writeFileSync(path.join(context, 'folder.txt'), 'changed')
  rmSync(path.join(context, 'link'))
  assert.equal(told(await builder.docker(['build', context])), '6 entries, 1 files came with 7 bytes')
  assert.deepEqual(readdirSync(kept).toSorted(), ['Dockerfile', 'folder', 'folder.txt'])

  work = syncing(new ContextFolder(kept, worker), { exclude: ['folder/**', '!folder/ünï'] })
  assert.equal(told(await builder.docker(['build', context])), '4 entries, 0 files came with 0 bytes')
  work = syncing(new ContextFolder(kept, worker), { follow: ['folder.txt', 'Dockerfile'] })
  assert.equal(told(await builder.docker(['build', context])), '2 entries, 0 files came with 0 bytes')
  work = syncing(new ContextFolder(kept, worker), { name: 'other' })
  assert.match(
    (await builder.docker(['build', context])).stderr,
    /code = NotFound desc = no access allowed to dir "other"/,
  )
})

test('20,000 files, and 200 MB', async () => {
  let work: Work = async () => ''
  await using builder = await builderFor((session, signal) => work(session, signal))
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  for (let folder = 0; folder < 200; folder++) {
    mkdirSync(path.join(context, `folder ${folder}`))
    for (let file = 0; file < 100; file++)
      writeFileSync(path.join(context, `folder ${folder}/${file}`), `file ${folder} ${file}`.repeat(20))
  }
  writeFileSync(path.join(context, 'large'), Buffer.alloc(200_000_000, 'berth'))
  work = syncing(new ContextFolder(path.join(builder.base, 'kept'), worker))
  const bytes = readdirSync(context, { recursive: true })
    .map(name => lstatSync(path.join(context, String(name))))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0)
  assert.equal(
    told(await builder.docker(['build', context])),
    `20202 entries, 20002 files came with ${bytes} bytes`,
  )
  assert.equal(told(await builder.docker(['build', context])), '0 entries, 0 files came with 0 bytes')
})

test('Dockerfiles are read alone, through links', async () => {
  await using builder = await builderFor(async (session, signal) => {
    const paths = ['Dockerfile', 'Dockerfile.dockerignore', 'missing']
    const files = await readFiles(session, { name: 'dockerfile', paths, limit: 1000 }, signal)
    return JSON.stringify([...files].map(([name, bytes]) => [name, bytes.toString()]))
  })
  const context = path.join(builder.base, 'context')
  mkdirSync(path.join(context, 'real'), { recursive: true })
  writeFileSync(path.join(context, 'real/file'), 'FROM scratch\n')
  symlinkSync('real/file', path.join(context, 'Dockerfile'))
  writeFileSync(path.join(context, 'Dockerfile.dockerignore'), '*.log\n')
  assert.equal(
    told(await builder.docker(['build', context])),
    JSON.stringify([
      ['Dockerfile', 'FROM scratch\n'],
      ['Dockerfile.dockerignore', '*.log\n'],
    ]),
  )
  writeFileSync(path.join(context, 'real/file'), 'x'.repeat(1001))
  assert.match((await builder.docker(['build', context])).stderr, /larger than 1000 bytes/)
})

test('secrets of a real client, and those that it does not have', async () => {
  await using builder = await builderFor(async (session, signal) => {
    const value = await getSecret(session, 'known', signal)
    const missing = await getSecret(session, 'unknown', signal).catch((error: Error) => error.message)
    return `${Buffer.from(value)} / ${missing}`
  })
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  writeFileSync(path.join(builder.base, 'secret'), 'hidden')
  const args = ['build', '--secret', `id=known,src=${path.join(builder.base, 'secret')}`, context]
  assert.equal(told(await builder.docker(args)), 'hidden / secret unknown: not found')
})

test('the ssh agent and the credentials of a real client', async () => {
  const host = 'registry.example'
  // As an agent without keys answers who asks for them.
  const keys = Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 0])
  await using builder = await builderFor(async (session, signal) => {
    await checkAgent(session, '', signal)
    const missing = await checkAgent(session, 'other', signal).catch((error: Error) => error.message)
    const agent = forwardAgent(session, 'default', signal)
    agent.write(Buffer.from([0, 0, 0, 1, 11]))
    let answer = ''
    for await (const bytes of agent as AsyncIterable<Buffer>) {
      answer += bytes.toString('hex')
      if (answer.length === 2 * keys.length) break
    }
    const known = await credentialsOf(session, host, signal)
    const unknown = await credentialsOf(session, 'elsewhere.example', signal)
    const publicKey = await tokenAuthority(session, host, signal)
    const isSame = publicKey && (await hasTokenAuthority(session, { host, publicKey }, signal))
    return [answer, missing, known?.username, known?.password, unknown, isSame].join(' | ')
  })
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  const config = path.join(builder.base, 'client/config.json')
  const auths = { [host]: { auth: Buffer.from('me:word').toString('base64') } }
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), auths }))
  const agent = createServer(socket => socket.on('data', () => socket.write(keys)))
  agent.listen(path.join(builder.base, 'agent'))
  await once(agent, 'listening')
  const env = { SSH_AUTH_SOCK: path.join(builder.base, 'agent') }
  const outcome = await builder.docker(['build', '--ssh', 'default', context], { env })
  agent.close()
  const missing = 'rpc error: code = Unknown desc = unset ssh forward key other'
  assert.equal(told(outcome), `${keys.toString('hex')} | ${missing} | me | word |  | true`)
})

test('a tree and a file go to the real client', async () => {
  let tree = ''
  const { signal } = new AbortController()
  await using builder = await builderFor(
    async () => '',
    async session => {
      using source = folderSource(tree, { prefix: 'linux_amd64', mtime: 1_000_000_000_123_456_789n })
      await sendTree(session, { exporter: 0, source }, signal)
    },
  )
  tree = path.join(builder.base, 'tree')
  const out = path.join(builder.base, 'out')
  mkdirSync(tree)
  fill(tree)
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  const outcome = await builder.docker(['buildx', 'build', '--output', `type=local,dest=${out}`, context])
  assert.equal(outcome.code, 0, outcome.stderr)
  const withoutTimes = (lines: string[]): string[] => lines.map(line => line.replace(/ \d+( [^ ]*)$/, '$1'))
  const came = picture(path.join(out, 'linux_amd64'))
  assert.deepEqual(withoutTimes(came), withoutTimes(picture(tree)))
  assert.ok(came.some(line => line.startsWith('large ') && line.includes(' 1000000000123456789 ')))
})

test('a file goes to the real client', async () => {
  const { signal } = new AbortController()
  const bytes = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.alloc(5_000_000, 'berth')
    yield Buffer.from('end')
  }
  await using builder = await builderFor(
    async () => '',
    session =>
      sendFile(
        session,
        { exporter: 0, fields: { 'containerimage.digest': 'sha256:0' }, bytes: bytes() },
        signal,
      ),
  )
  const context = path.join(builder.base, 'context')
  const out = path.join(builder.base, 'out.tar')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  const outcome = await builder.docker(['buildx', 'build', '--output', `type=tar,dest=${out}`, context])
  assert.equal(outcome.code, 0, outcome.stderr)
  assert.deepEqual(readFileSync(out), Buffer.concat([Buffer.alloc(5_000_000, 'berth'), Buffer.from('end')]))
})

test('blobs of a real client are written and read', async () => {
  let work: Work = async () => ''
  await using builder = await builderFor((session, signal) => work(session, signal))
  const context = path.join(builder.base, 'context')
  const folder = path.join(builder.base, 'cache')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  const large = Buffer.alloc(5_000_000, 'berth')
  const blob = { digest: digestOf(large), size: large.length }
  work = async (session, signal) => {
    const store = clientStore(session, `local:${folder}`, signal)
    const wrong = { ...blob, digest: digestOf(Buffer.from('other')) }
    const refusal = await store.write(wrong, given(large)).catch((error: Error) => error.message)
    await store.write(blob, given(large))
    await store.write(blob, given(large))
    const { size } = await store.info(blob.digest)
    const read = Buffer.concat(await Array.fromAsync(store.read(blob.digest, { offset: 7 })))
    const absent = await store.info(wrong.digest).catch((error: Error) => error.message)
    return JSON.stringify([size, read.equals(large.subarray(7)), refusal, absent])
  }
  const outcome = await builder.docker([
    'buildx',
    'build',
    '--cache-to',
    `type=local,dest=${folder}`,
    context,
  ])
  const [size, isSame, refusal, absent] = JSON.parse(told(outcome))
  assert.deepEqual([size, isSame], [large.length, true])
  assert.match(refusal, /code = FailedPrecondition desc = unexpected commit digest/)
  assert.match(absent, /code = NotFound desc = content sha256:.*: not found/)
  const kept = path.join(folder, 'blobs/sha256', blob.digest.slice('sha256:'.length))
  assert.deepEqual(readFileSync(kept), large)
  assert.deepEqual(readdirSync(path.join(folder, 'ingest')), [])
})

test('a client that is killed takes its session and its calls with it, and leaves no connection', async () => {
  const client = new AbortController()
  const failure = Promise.withResolvers<Error>()
  let id = ''
  await using builder = await builderFor(async session => {
    id = session.id
    const { signal } = new AbortController()
    const sync = syncing(new ContextFolder(path.join(builder.base, 'kept'), worker))(session, signal)
    client.abort()
    await sync.catch(failure.resolve)
    return ''
  })
  const context = path.join(builder.base, 'context')
  mkdirSync(context)
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM scratch\n')
  writeFileSync(path.join(context, 'large'), Buffer.alloc(300_000_000))
  await builder.docker(['build', context], { kill: client.signal })
  assert.match((await failure.promise).message, /was closed by its client/)
  assert.equal(builder.sessions.find(id), undefined)
  await until('all connections were closed', () => builder.connections() === 0)
})
