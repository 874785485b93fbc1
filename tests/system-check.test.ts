import assert from 'node:assert/strict'
import { chmodSync, existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { until } from './harness/shell.ts'
import { blobPath, check, flip, isClean, layerWith } from './harness/storeHealth.ts'

/** What is damaged in the data root is told, mended from what is whole, and in nobody's way. */
let daemon: TestDaemon
let registry: ImageRegistry
let image: { digest: string; config: string; layers: string[] }
let name = ''
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace)
  image = await registry.serve({ repository: 'team/box', tag: '1', which: 'one', bytes: 1 << 20 })
  name = `${registry.address}/team/box:1`
  await daemon.mustDocker(['pull', '-q', name])
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

/** What was found, as kind and words. */
const told = async (query: string): Promise<string[]> =>
  (await check(daemon, query)).findings.map(
    ({ Kind, Text, Repair }) => `${Kind}: ${Text}${Repair ? ` => ${Repair.Result}: ${Repair.Text}` : ''}`,
  )

const allMatch = (lines: string[], forms: RegExp[]): void => {
  for (const form of forms)
    assert.ok(
      lines.some(line => form.test(line)),
      `${form}\n${lines.join('\n')}`,
    )
  assert.equal(lines.length, forms.length, lines.join('\n'))
}

test('a whole store is found whole, and counted', async () => {
  const { status, findings, summary } = await check(daemon)
  assert.equal(status, 200)
  assert.deepEqual(findings, [])
  assert.deepEqual([summary?.Blobs, summary?.Layers, summary?.Damaged], [5, 3, 0])
  await isClean(daemon)
  assert.deepEqual(await told('depth=quick'), [])
  const wrong = await daemon.api('POST', '/berth/v1/system/check?repair=all')
  assert.deepEqual([wrong.status, /use one of none, local, fetch/.test(wrong.text)], [400, true])
})

test('a damaged layer is unpacked again, and a running container goes on with what it has', async () => {
  await docker('run', '-d', '--name', 'runs', name, 'sh', '-c', 'read x </which; sleep 1000')
  const layer = layerWith(daemon, 'which')
  const base = layerWith(daemon, 'bin/busybox')
  writeFileSync(path.join(layer, 'diff/which'), 'two')
  writeFileSync(path.join(layer, 'diff/surplus'), '')
  chmodSync(path.join(base, 'diff/etc/passwd'), 0o600)
  rmSync(path.join(base, 'diff/etc/group'))
  rmSync(path.join(base, 'layer.json'))
  const { findings } = await check(daemon)
  assert.deepEqual(
    findings.map(({ Kind, Images, Containers }) => [Kind, Images, Containers]),
    Array.from({ length: 2 }, () => ['layer-damaged', [name], ['runs']]),
  )
  assert.deepEqual(findings[1]?.Differences, [
    { Path: '"/surplus"', Text: 'is not in the blob' },
    { Path: '"/which"', Text: 'has other content' },
  ])
  allMatch(await told('repair=local'), [
    /layer-damaged: .*: its record layer.json is missing.* => repaired: .* from its blob; runs will have it from/,
    /layer-damaged: .*: 2 of its paths are not as .* => repaired: it was unpacked again from its blob; runs /,
  ])
  await isClean(daemon)
  assert.equal(await docker('exec', 'runs', 'cat', '/which'), 'two', 'its mount is as it was')
  assert.equal(await docker('exec', 'runs', 'stat', '-c', '%a', '/etc/passwd'), '600')
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'one')
  const held = () => readdirSync(path.dirname(layer)).filter(entry => entry.startsWith('.replaced-'))
  assert.equal(held().length, 2)
  await daemon.restart()
  assert.equal(held().length, 2)
  assert.equal(await docker('exec', 'runs', 'cat', '/which'), 'two')
  await audit(daemon)
  await docker('restart', '-t', '0', 'runs')
  assert.equal(
    await docker('exec', 'runs', 'cat', '/which', '/etc/group'),
    await docker('run', '--rm', name, 'cat', '/which', '/etc/group'),
  )
  assert.deepEqual(held(), [])
  await audit(daemon)
  await docker('rm', '-f', 'runs')
})

test('a layer whose folder is gone is unpacked again', async () => {
  rmSync(layerWith(daemon, 'which'), { recursive: true })
  allMatch(await told('depth=quick&repair=local'), [/the folder of the layer .* is missing => repaired/])
  await isClean(daemon)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'one')
})

test('damaged and missing blobs are fetched again from where the image came from', async () => {
  const [base = '', which = '', noise = ''] = image.layers.map(digest => blobPath(daemon, digest))
  flip(base)
  truncateSync(noise, 1000)
  for (const file of [which, blobPath(daemon, image.digest), blobPath(daemon, image.config)]) rmSync(file)
  allMatch(await told('depth=quick'), [
    new RegExp(`blob-missing: the blob ${image.digest} is missing$`),
    new RegExp(`blob-missing: the blob ${image.config} is missing$`),
    new RegExp(`blob-missing: the blob ${image.layers[1]} is missing$`),
    new RegExp(
      `blob-damaged: the blob ${image.layers[2]} is damaged: its file has 1000 bytes in place of \\d+$`,
    ),
    ...image.layers
      .slice(1)
      .map(() => /layer-unverifiable: .* cannot be checked: its blob .* is damaged or missing$/),
  ])
  const from = `${registry.address}/team/box`
  allMatch(await told('repair=fetch'), [
    new RegExp(
      `blob-damaged: .* its file has the content of sha256:.* => repaired: .* fetched again from ${from}, and`,
    ),
    /blob-damaged: .* 1000 bytes .* => repaired: .*the damaged file was removed/,
    ...Array.from({ length: 3 }, () => /blob-missing: .* => repaired: it was fetched again from/),
  ])
  await isClean(daemon)
  assert.equal((await check(daemon, 'depth=quick')).summary?.Quarantine.length, 0)
  await audit(daemon)
})

test('an image of an index is fetched by the index’s name, whichever platform has that', async () => {
  await registry.serveIndex('multi', '1', [
    { repository: 'multi', tag: 'x', which: 'other', architecture: 's390x' },
    { repository: 'multi', tag: 'y', which: 'own' },
  ])
  const index = `${registry.address}/multi:1`
  await docker('pull', '-q', index)
  const own = await docker('image', 'inspect', '-f', '{{.Id}}', index)
  await docker('pull', '-q', '--platform', 'linux/s390x', index)
  rmSync(blobPath(daemon, own))
  const { findings } = await check(daemon, 'depth=quick&repair=fetch')
  assert.deepEqual(
    findings.map(({ Kind, Images, Repair }) => [Kind, Images, Repair?.Result]),
    [['blob-missing', [index], 'repaired']],
  )
  const ids = await docker('images', '-aq', '--no-trunc')
  await docker('rmi', '-f', ...new Set(ids.split('\n').filter(id => id !== image.config)))
  await isClean(daemon)
})

test('an image that lost the name it was pulled by is fetched from there all the same', async () => {
  const { config } = await registry.serve({ repository: 'team/renamed', tag: '1', which: 'renamed' })
  await docker('pull', '-q', `${registry.address}/team/renamed:1`)
  await docker('tag', `${registry.address}/team/renamed:1`, 'own:1')
  await docker('rmi', `${registry.address}/team/renamed:1`)
  rmSync(blobPath(daemon, config))
  allMatch(await told('depth=quick&repair=fetch'), [
    new RegExp(`blob-missing: .* => repaired: .* from ${registry.address}/team/renamed$`),
  ])
  await docker('rmi', 'own:1')
  await isClean(daemon)
})

test('what cannot be had again is put aside with a note, and the next pull brings it', async () => {
  const [, which = '', noise = ''] = image.layers
  await docker('create', '--name', 'lost', name, 'cat', '/which')
  flip(blobPath(daemon, which))
  await registry.fault(new RegExp(which), { status: 404, text: '{"errors":[{"code":"BLOB_UNKNOWN"}]}' }, 2)
  rmSync(layerWith(daemon, 'which'), { recursive: true })
  flip(blobPath(daemon, noise))
  const early = await daemon.docker(['create', name])
  assert.match(
    early.stderr,
    /the layer .* is not on the disk any more: pull or load the image again, or have/,
  )
  const first = await check(daemon, 'repair=fetch')
  assert.deepEqual(
    first.findings.map(({ Kind, Repair }) => [Kind, Repair?.Result]),
    [
      ['blob-damaged', 'quarantined'],
      ['blob-damaged', 'repaired'],
      ['layer-damaged', 'failed'],
      ['layer-missing', 'failed'],
      ['container-damaged', 'failed'],
    ],
    JSON.stringify(first.findings),
  )
  assert.match(
    first.findings[0]?.Repair?.Text ?? '',
    /moved to quarantine\/.*; it cannot be had again \(.*\); the next pull or load of .*team\/box:1 brings it again$/,
  )
  const [entry] = first.summary?.Quarantine ?? []
  assert.deepEqual([entry?.Digest, entry?.Images], [which, [name]])
  assert.ok(existsSync(path.join(daemon.dataRoot, 'quarantine', entry?.Name ?? '', which.slice(7))))
  const start = await daemon.docker(['start', 'lost'])
  assert.match(
    start.stderr,
    /the layer sha256:.* of the container's image is not on the disk any more: pull or load/,
  )
  const create = await daemon.docker(['create', name])
  assert.match(
    create.stderr,
    /its blob is not in the content store \(it was moved to quarantine\/.*, because its file has the content of .*\); pull or load the image again/,
  )
  await audit(daemon)
  await docker('pull', '-q', name)
  await isClean(daemon)
  assert.equal(await docker('start', '-a', 'lost'), 'one')
  await docker('rm', 'lost')
  const listed = await daemon.json<{ Name: string }[]>('GET', '/berth/v1/system/quarantine')
  assert.deepEqual(
    listed.map(({ Name }) => Name),
    [entry?.Name],
  )
  assert.equal((await daemon.api('DELETE', '/berth/v1/system/quarantine/..')).status, 404)
  await daemon.json('DELETE', `/berth/v1/system/quarantine/${entry?.Name}`)
  assert.deepEqual(await daemon.json('GET', '/berth/v1/system/quarantine'), [])
})

test('records that name what is not there are told, and what nobody needs is removed', async () => {
  await daemon.kill('SIGTERM')
  const database = new DatabaseSync(path.join(daemon.dataRoot, 'berth.db'))
  const tag = {
    name: 'docker.io/library/ghost:latest',
    image: `sha256:${'0'.repeat(64)}`,
    target: image.digest,
  }
  database.prepare('INSERT INTO documents VALUES (?, ?, ?)').run('tag', tag.name, JSON.stringify(tag))
  database.close()
  await daemon.start()
  await docker('create', '--name', 'made', name)
  const id = await docker('inspect', '-f', '{{.Id}}', 'made')
  rmSync(path.join(daemon.dataRoot, 'uppers', id, 'diff'), { recursive: true })
  const leftover = blobPath(daemon, '1'.repeat(64))
  writeFileSync(leftover, 'nobody knows me')
  const forms = [
    /^tag-without-image: the name ghost:latest stands for the image sha256:0+, which/,
    /^container-damaged: what the container made wrote is missing/,
  ]
  allMatch(await told('depth=quick'), [...forms, /^blob-leftover: .* \(15 bytes\) is needed by no image$/])
  allMatch(await told('repair=local'), [
    ...forms,
    /^blob-damaged: the blob sha256:1+ is damaged: its file has the content of .* => quarantined: .*; nothing needs it$/,
  ])
  assert.equal(existsSync(leftover), false)
  await docker('rm', 'made')
  await isClean(daemon)
  rmSync(path.join(daemon.dataRoot, 'quarantine'), { recursive: true })
})

interface Listed {
  Id: string
  Verb: string
  Step: string
}

test('one check runs at a time; it waits for a load, is listed, and can be cancelled', async () => {
  const load = request({ socketPath: daemon.socket, method: 'POST', path: '/images/load' })
  load.on('error', () => {})
  load.flushHeaders()
  const operations = () => daemon.json<Listed[]>('GET', '/berth/v1/operations')
  await until('the load reads', async () =>
    (await operations()).some(({ Step }) => Step === 'reading the archive'),
  )
  const first = check(daemon)
  const waiting = await until('the check waits', async () =>
    (await operations()).find(({ Step }) => Step === 'waiting for pulls and loads under way'),
  )
  assert.equal(waiting.Verb, 'check')
  const second = await daemon.api('POST', '/berth/v1/system/check')
  assert.deepEqual([second.status, /a check of the store is under way/.test(second.text)], [409, true])
  await daemon.json('DELETE', `/berth/v1/operations/${waiting.Id}`)
  const cancelled = await first
  assert.match(cancelled.error ?? JSON.stringify(cancelled.lines), /check of data root was cancelled by/)
  load.destroy()
  await until('the load has ended', async () => (await operations()).length === 0)
  await isClean(daemon)
  assert.ok(statSync(blobPath(daemon, image.digest)).size > 0)
})
