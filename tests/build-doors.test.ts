import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { controlClient } from '../src/api/testing/apiServer.ts'
import { audit } from './harness/audit.ts'
import { freshPath, inImage, makeContext, servedRepository } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, type Outcome, until } from './harness/shell.ts'

/** How clients come to the builder, and what they bring: gRPC without an upgrade, other targets, layouts. */

let daemon: TestDaemon
const folder = mkdtempSync('/tmp/berth-doors-')
const auditLog = path.join(folder, 'audit.log')
before(async () => {
  daemon = await startDaemon({ flags: ['--audit-log', auditLog] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const buildx = (...words: string[]): Promise<Outcome> => daemon.docker(['buildx', ...words])

const mustBuildx = async (...words: string[]): Promise<string> => {
  const { code, stderr } = await buildx(...words)
  assert.equal(code, 0, stderr)
  return stderr
}

/** Targets of a bake file, all of them built. */
const bake = async (targets: Record<string, object>, ...words: string[]): Promise<string> => {
  const file = freshPath(daemon, 'bake.json')
  writeFileSync(
    file,
    JSON.stringify({ group: { default: { targets: Object.keys(targets) } }, target: targets }),
  )
  return await mustBuildx('bake', '--progress=plain', '-f', file, ...words)
}

test('a target is built on another one, whose folder is another', async () => {
  const base = makeContext(
    daemon,
    ['FROM busybox', 'ENV FROM_BASE=yes', 'COPY who /base', 'RUN cat /base >/ran'],
    {
      who: 'of the base',
    },
  )
  const app = makeContext(
    daemon,
    ['FROM base', 'COPY who /app', 'COPY --from=base /ran /copied', 'RUN echo "$FROM_BASE" >/env'],
    { who: 'of the app' },
  )
  const targets = {
    base: { context: base, output: ['type=cacheonly'] },
    app: { context: app, contexts: { base: 'target:base' }, tags: ['on-base'] },
  }
  await bake(targets)
  assert.equal(
    await inImage(daemon, 'on-base', 'cat /base /app /ran /copied /env'),
    'of the baseof the appof the baseof the baseyes',
  )
  const again = await bake(targets)
  assert.doesNotMatch(again, /RUN.*\n#\d+ DONE/)
  // Nobody asked for the base but the other target.
  const alone = await bake({ app: targets.app, base: targets.base }, '--no-cache', 'app')
  assert.match(alone, /RUN cat \/base/)
  const words = await inImage(daemon, 'on-base', 'cat /copied')
  assert.equal(words, 'of the base')
})

test('of several platforms each is built on its own', async () => {
  const base = makeContext(daemon, ['FROM scratch', 'ARG TARGETARCH', 'COPY $TARGETARCH /'], {
    'amd64/name': 'amd',
    'arm64/name': 'arm',
  })
  const app = makeContext(daemon, ['FROM base', 'COPY more /'], { more: 'x' })
  const out = freshPath(daemon, 'platforms')
  const platforms = ['linux/amd64', 'linux/arm64']
  await bake({
    base: { context: base, platforms, output: ['type=cacheonly'] },
    app: { context: app, platforms, contexts: { base: 'target:base' }, output: [`type=local,dest=${out}`] },
  })
  for (const [arch, text] of [
    ['amd64', 'amd'],
    ['arm64', 'arm'],
  ] as const)
    assert.deepEqual(
      [
        readFileSync(path.join(out, `linux_${arch}/name`), 'utf8'),
        readdirSync(path.join(out, `linux_${arch}`)).length,
      ],
      [text, 2],
    )
})

test('a target that is a folder, an image or nothing is a context as others are', async () => {
  const folder = makeContext(daemon, [], { file: 'in the folder' })
  const [plain, image, nothing] = ['FROM files', 'FROM busybox', 'FROM scratch'].map(line =>
    makeContext(daemon, [line]),
  )
  const app = makeContext(daemon, [
    'FROM image',
    'COPY --from=plain /file /',
    'COPY --from=nothing . /empty/',
  ])
  const only = { output: ['type=cacheonly'] }
  await bake({
    plain: { ...only, context: plain, contexts: { files: folder } },
    image: { ...only, context: image },
    nothing: { ...only, context: nothing },
    app: {
      context: app,
      contexts: { plain: 'target:plain', image: 'target:image', nothing: 'target:nothing' },
      tags: ['of-targets'],
    },
  })
  assert.equal(await inImage(daemon, 'of-targets', 'cat /file; ls /empty'), 'in the folder')
})

test('a bake file from afar builds of where it lies', async () => {
  await using _repository = await servedRepository(daemon, {
    'docker-bake.json': JSON.stringify({ target: { default: { tags: ['baked'] } } }),
    Dockerfile: 'FROM busybox\nCOPY file /\n',
    file: 'of the repository',
  })
  await mustBuildx('bake', '--progress=plain', 'git://127.0.0.1/repository#main')
  assert.equal(await inImage(daemon, 'baked', 'cat /file'), 'of the repository')
})

/** An OCI layout of busybox with a layer of our own; the paths of its layers' blobs, the last one's last. */
const makeLayout = async (): Promise<{ folder: string; layers: string[] }> => {
  const folder = freshPath(daemon, 'layout')
  const archive = freshPath(daemon, 'archive')
  const name = `layout-${path.basename(folder)}`
  await mustBuildx(
    'build',
    '-t',
    name,
    makeContext(daemon, ['FROM busybox', `RUN echo ${name} >/layout`, 'ENV L=1']),
  )
  await daemon.mustDocker(['save', '-o', archive, name])
  await must([
    'skopeo',
    '--insecure-policy',
    'copy',
    '-q',
    `docker-archive:${archive}`,
    `oci:${folder}:latest`,
  ])
  await daemon.mustDocker(['rmi', name])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  const blob = (digest: string): string => path.join(folder, 'blobs', digest.replace(':', '/'))
  const index = JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8'))
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0].digest), 'utf8'))
  return { folder, layers: manifest.layers.map(({ digest }: { digest: string }) => blob(digest)) }
}

test('an image of a layout of the client is built upon', async () => {
  const { folder, layers } = await makeLayout()
  const context = makeContext(daemon, [
    'FROM base',
    'RUN cat /layout >/seen',
    'COPY --from=base /layout /copied',
  ])
  const layout = `base=oci-layout://${folder}`
  await mustBuildx('build', '--build-context', layout, '-t', 'on-layout', context)
  const words = await inImage(daemon, 'on-layout', 'cat /seen /copied; echo $L')
  assert.match(words, /^(layout-\S+)\n\1\n1$/)
  const again = await mustBuildx('build', '--progress=plain', '--build-context', layout, context)
  assert.match(again, /RUN cat \/layout >\/seen\n#\d+ CACHED/)
  await daemon.mustDocker(['rmi', 'on-layout'])
  await daemon.mustDocker(['builder', 'prune', '-af'])

  const last = layers.at(-1) ?? ''
  const bytes = readFileSync(last)
  writeFileSync(last, Buffer.alloc(statSync(last).size))
  const damaged = await buildx('build', '--build-context', layout, context)
  assert.notEqual(damaged.code, 0)
  assert.match(damaged.stderr, /digest|verif/i)
  rmSync(last)
  const absent = await buildx('build', '--build-context', layout, context)
  assert.match(absent.stderr, /the OCI layout of the client has no blob sha256:/)
  writeFileSync(last, bytes)
  await mustBuildx('build', '--build-context', layout, context)
})

test('a client that dials the socket itself builds without an upgrade', async () => {
  const out = freshPath(daemon, 'direct')
  const context = makeContext(daemon, ['FROM busybox', 'COPY file /', 'RUN cat /file'], { file: 'direct' })
  await mustBuildx('create', '--name', 'direct', '--driver', 'remote', `unix://${daemon.socket}`)
  const words = ['--builder', 'direct', '--progress=plain', '-o', out, context]
  assert.match(await mustBuildx('build', ...words), /\d direct\n/)
  assert.equal(readFileSync(path.join(out, 'file'), 'utf8'), 'direct')
  const lines = readFileSync(auditLog, 'utf8').trimEnd().split('\n')
  const calls = lines.map(line => JSON.parse(line)).filter(({ path: at }) => at.startsWith('/moby.'))
  const solved = calls.find(({ path: at, phase }) => at.endsWith('Control/Solve') && phase === 'ended')
  assert.deepEqual([solved?.operation, solved?.status, solved?.who.uid], ['Grpc', 200, process.getuid?.()])
  assert.ok(calls.some(({ operation }) => operation === 'Session'))
  await mustBuildx('rm', 'direct')
})

test('a build that is under way tells who asked for it', async () => {
  interface Operation {
    Id: string
    Verb: string
    Client?: { Remote: string; Process?: { Pid: number; Name: string } }
  }
  const building = buildx('build', makeContext(daemon, ['FROM busybox', 'RUN sleep 1000']))
  const list = (): Promise<Operation[]> => daemon.json('GET', '/berth/v1/operations')
  const operation = await until('it is under way', async () =>
    (await list()).find(({ Verb }) => Verb === 'build'),
  )
  assert.equal(operation.Client?.Remote, 'unix')
  assert.match(operation.Client?.Process?.Name ?? '', /docker/)
  await daemon.api('DELETE', `/berth/v1/operations/${operation.Id}?by=the+test`)
  const { code, stderr } = await building
  assert.notEqual(code, 0)
  assert.match(stderr, /the test/)
})

test('a library speaks gRPC to the socket while HTTP/1 goes on beside it', async () => {
  const socket = connect(daemon.socket)
  const client = controlClient({ createConnection: () => socket })
  const { record } = await client.listWorkers({})
  assert.equal(record.length, 1)
  await assert.rejects(client.solve({ ref: 'x', frontend: 'other' }), /no active session|frontend/)
  assert.equal((await daemon.api('GET', '/_ping')).status, 200)
  socket.destroy()
})

test('nothing is left', async () => {
  await daemon.mustDocker(['image', 'prune', '-af'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'doors of the builder')
})
