import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../src/oci/digest.ts'
import { audit } from './harness/audit.ts'
import { freshPath, idOfImage, inImage, makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import type { Outcome } from './harness/shell.ts'

/** Caches of builds that the real client has written to a registry, an image or a folder, and read again. */

let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace, { apart: true })
  await daemon.loadBusybox()
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['buildx', 'build', '--progress=plain', ...options, folder])

const mustBuild = async (folder: string, ...options: string[]): Promise<string> => {
  const { code, stderr } = await build(folder, ...options)
  assert.equal(code, 0, stderr)
  return stderr
}

const to = (name: string, more = ''): string => `type=registry,ref=${registry.address}/${name}${more}`
const from = (name: string): string => `type=registry,ref=${registry.address}/${name}`

/** As on another host: neither results nor images of earlier builds. */
const forget = async (...images: string[]): Promise<void> => {
  if (images.length > 0) await daemon.mustDocker(['rmi', '-f', ...images])
  await daemon.mustDocker(['image', 'prune', '-f'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
}

/** Instructions that were cached, and those that ran. */
const stepsOf = (stderr: string): { cached: string[]; ran: string[] } => {
  const names = new Map(
    [...stderr.matchAll(/^#(\d+) \[[^\]]*\d+\/\d+\] ((?:RUN|COPY|WORKDIR|ADD) .*)$/gm)].map(
      ([, number = '', name = '']) => [number, name],
    ),
  )
  const isCached = (number: string): boolean => new RegExp(`^#${number} CACHED$`, 'm').test(stderr)
  const all = [...names]
  return {
    cached: all.flatMap(([number, name]) => (isCached(number) ? [name] : [])).sort(),
    ran: all.flatMap(([number, name]) => (isCached(number) ? [] : [name])).sort(),
  }
}

const layersOf = (image: string): Promise<string> =>
  daemon.mustDocker(['inspect', '-f', '{{.RootFS.Layers}}', image])

interface Document {
  mediaType: string
  config: { mediaType: string; digest: string }
  layers: { mediaType: string; digest: string }[]
  manifests: { mediaType: string; digest: string }[]
}

const manifestOf = async (repository: string, tag = 'latest'): Promise<Document> => {
  const found = await registry.manifest(repository, tag)
  assert.ok(found, `${repository}:${tag}`)
  return JSON.parse(found.text) as Document
}

let count = 0

/** Two stages that no earlier test has built. */
const stages = (own: { link?: string; last?: string; file?: string; mark?: string } = {}): string => {
  const { link = 'link', last = 'last', file = 'text', mark = `mark ${++count}` } = own
  return context(
    [
      'FROM busybox AS made',
      `RUN echo ${mark} >/mark`,
      'COPY file /in',
      'RUN cat /in /mark /proc/sys/kernel/random/uuid >/compiled',
      `RUN echo ${link} >>/compiled`,
      'FROM busybox',
      'ENV A=b',
      'COPY --from=made /compiled /compiled',
      `RUN echo ${last} >/last`,
      'CMD ["cat", "/compiled"]',
    ],
    { file },
  )
}

test('a build on another host finds all steps of a cache in a registry, and makes the same image', async () => {
  const folder = stages({ mark: 'whole' })
  const output = await mustBuild(folder, '-t', 'whole', '--cache-to', to('whole', ',mode=max'))
  assert.match(output, /exporting cache to registry/)
  assert.match(output, /preparing build cache for export/)
  assert.match(output, /writing cache image manifest sha256:/)
  const [id, layers, said] = [
    await idOfImage(daemon, 'whole'),
    await layersOf('whole'),
    await daemon.mustDocker(['run', '--rm', 'whole']),
  ]
  const { config, layers: blobs } = await manifestOf('whole')
  assert.equal(config.mediaType, 'application/vnd.buildkit.cacheconfig.v0')
  for (const { mediaType } of blobs) assert.match(mediaType, /^application\/vnd\.oci\.image\.layer\.v1\.tar/)
  await forget('whole')
  const again = await mustBuild(folder, '-t', 'whole', '--cache-from', from('whole'))
  assert.match(again, new RegExp(`importing cache manifest from ${registry.address}/whole`))
  assert.deepEqual(stepsOf(again).ran, [])
  assert.equal(await idOfImage(daemon, 'whole'), id)
  assert.equal(await layersOf('whole'), layers)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'whole']), said)
  // What came is the builder's own, and what did not come is not there.
  const { ran } = stepsOf(await mustBuild(folder, '-t', 'whole'))
  assert.deepEqual(ran, [])
  await forget('whole')
  await audit(daemon, 'a cache of a registry')
})

test('what differs is made upon what is found, whose layers come then', async () => {
  await mustBuild(stages({ mark: 'max' }), '-t', 'max', '--cache-to', to('max', ',mode=max'))
  await mustBuild(stages({ mark: 'max' }), '--cache-to', to('min', ',mode=min'))
  const [max, min] = [await manifestOf('max'), await manifestOf('min')]
  assert.equal(max.layers.length - min.layers.length, 4)
  await forget('max')
  const changed = stages({ mark: 'max', link: 'other' })
  const steps = stepsOf(await mustBuild(changed, '-t', 'max', '--cache-from', from('max')))
  assert.deepEqual(steps.cached, [
    'COPY file /in',
    'RUN cat /in /mark /proc/sys/kernel/random/uuid >/compiled',
    'RUN echo max >/mark',
  ])
  assert.match(await inImage(daemon, 'max', 'cat /compiled'), /^textmax\n[\w-]+\nother$/)
  await forget('max')
  const fromMin = stepsOf(await mustBuild(changed, '-t', 'max', '--cache-from', from('min')))
  assert.deepEqual(fromMin.cached, [])
  await forget('max')
  // The result's own layers are enough for a step after them.
  const more = stages({ mark: 'max', last: 'another' })
  const above = stepsOf(await mustBuild(more, '-t', 'max', '--cache-from', from('min')))
  assert.deepEqual(above.ran, ['RUN echo another >/last'])
  assert.match(await inImage(daemon, 'max', 'cat /compiled /last'), /link\nanother$/)
  await forget('max')
})

test('nothing of a cache answers for steps that are to be made anew', async () => {
  const folder = stages({ mark: 'anew' })
  await mustBuild(folder, '--cache-to', to('anew', ',mode=max'))
  await forget()
  const { cached } = stepsOf(await mustBuild(folder, '--no-cache', '--cache-from', from('anew')))
  assert.deepEqual(cached, [])
  await forget()
  const filtered = await mustBuild(folder, '--no-cache-filter', 'made', '--cache-from', from('anew'))
  assert.deepEqual(stepsOf(filtered).cached, [])
  await forget()
})

test('forms, compression and names of a cache are as the client says', async () => {
  const folder = stages({ mark: 'forms' })
  await mustBuild(folder, '-t', 'forms', '--cache-to', to('forms', ',image-manifest=false,compression=zstd'))
  const index = await manifestOf('forms')
  assert.equal(index.mediaType, 'application/vnd.oci.image.index.v1+json')
  assert.equal(index.manifests.at(-1)?.mediaType, 'application/vnd.buildkit.cacheconfig.v0')
  assert.match(index.manifests.at(-2)?.mediaType ?? '', /tar\+zstd$/)
  const docker = to('docker', ',oci-mediatypes=false')
  await mustBuild(folder, '--cache-to', docker)
  assert.equal(
    (await manifestOf('docker')).mediaType,
    'application/vnd.docker.distribution.manifest.list.v2+json',
  )
  for (const name of ['forms', 'docker']) {
    await forget('forms')
    assert.deepEqual(stepsOf(await mustBuild(folder, '-t', 'forms', '--cache-from', from(name))).ran, [])
  }
  await registry.seen()
  await mustBuild(folder, '--cache-to', docker, '--cache-from', from('docker'))
  const sent = (await registry.seen()).filter(line => /^PUT .*\/blobs\//.test(line))
  assert.ok(sent.length <= 1, `only its records are sent again: ${sent.join('\n')}`)
  await forget('forms')
})

test('a cache goes within the image that was built', async () => {
  const folder = stages({ mark: 'inline' })
  const name = `${registry.address}/inline:1`
  await mustBuild(folder, '-t', name, '--push', '--cache-to', 'type=inline')
  const said = await daemon.mustDocker(['run', '--rm', name])
  await forget(name)
  const again = await mustBuild(folder, '-t', name, '--cache-from', name, '--cache-to', 'type=inline')
  assert.deepEqual(stepsOf(again).ran, [])
  assert.equal(await daemon.mustDocker(['run', '--rm', name]), said)
  // The image is at hand, and its builder's results are not.
  await forget()
  await registry.seen()
  assert.deepEqual(stepsOf(await mustBuild(folder, '-t', name, '--cache-from', name)).ran, [])
  assert.deepEqual(
    (await registry.seen()).filter(line => /inline/.test(line)),
    [],
  )
  await forget(name)
})

test('older clients ask for it by an argument, and the classic builder finds it', async () => {
  const folder = stages({ mark: 'older' })
  const args = ['--build-arg', 'BUILDKIT_INLINE_CACHE=1']
  await daemon.mustDocker(['build', '-q', '-t', 'older', ...args, folder])
  await forget()
  const classic = ['build', '-t', 'classic', '--cache-from', 'older', folder]
  const { stdout } = await daemon.docker(classic, { env: { DOCKER_BUILDKIT: '0' } })
  assert.equal(stdout.match(/ : (RUN|COPY) .*\n ---> Using cache/g)?.length, 6, stdout)
  assert.equal(await layersOf('classic'), await layersOf('older'))
  const none = ['build', '--cache-from', 'busybox', folder]
  assert.match(
    (await daemon.docker(none, { env: { DOCKER_BUILDKIT: '0' } })).stdout,
    /no cache is used: busybox: /,
  )
  await forget('older', 'classic')
})

test('a cache goes into a folder of the client', async () => {
  const folder = stages({ mark: 'folder' })
  const cache = freshPath(daemon, 'cache')
  const output = await mustBuild(folder, '-t', 'folder', '--cache-to', `type=local,dest=${cache},mode=max`)
  assert.match(output, /exporting cache to client directory/)
  assert.ok(existsSync(path.join(cache, 'index.json')))
  const id = await idOfImage(daemon, 'folder')
  await forget('folder')
  const changed = stages({ mark: 'folder', link: 'other' })
  const local = ['--cache-from', `type=local,src=${cache}`]
  assert.equal(stepsOf(await mustBuild(changed, '-t', 'changed', ...local)).cached.length, 3)
  await forget('changed')
  assert.deepEqual(stepsOf(await mustBuild(folder, '-t', 'folder', ...local)).ran, [])
  assert.equal(await idOfImage(daemon, 'folder'), id)
  await forget('folder')
  await audit(daemon, 'a cache of a folder')
})

test('a cache that cannot be had or used is shown, and the build goes on', async () => {
  const folder = stages({ mark: 'broken' })
  const missing = await mustBuild(folder, '--cache-from', from('nowhere'))
  assert.match(missing, /ERROR: failed to configure registry cache importer: .*nowhere/)
  const image = `${registry.address}/plain:1`
  await mustBuild(folder, '-t', image, '--push')
  assert.match(await mustBuild(folder, '--cache-from', image), /is an image without a cache/)
  await mustBuild(folder, '--cache-to', to('broken'))
  const { config } = await manifestOf('broken')
  await registry.forget(config.digest)
  await forget(image)
  const broken = await mustBuild(folder, '--cache-from', from('broken'))
  assert.match(broken, /ERROR: failed to configure registry cache importer/)
  assert.deepEqual(stepsOf(broken).cached, [])
  await forget()
})

/** A blob, by curl within the daemon's host. */
const upload = async (repository: string, text: string): Promise<{ digest: string; size: number }> => {
  const [digest, base] = [digestOf(text), `http://${registry.address}/v2/${repository}`]
  const script = `
    place=$(curl -sf -X POST -D - -o /dev/null ${base}/blobs/uploads/ | tr -d '\\r' | sed -n 's/^location: //Ip')
    curl -sf -X PUT --data-binary @- "$place&digest=${digest}"`
  const outcome = await daemon.onHost(['sh', '-ec', script], { input: text })
  assert.equal(outcome.code, 0, outcome.stderr)
  return { digest, size: Buffer.byteLength(text) }
}

test('a cache that BuildKit wrote is told to be of no use here', async () => {
  const layer = { ...(await upload('foreign', 'layer')), mediaType: 'application/vnd.oci.image.layer.v1.tar' }
  const form = {
    layers: [{ blob: layer.digest, parent: -1 }],
    records: [{ digest: layer.digest, layers: [{ layer: 0, createdAt: '2026-01-02T03:04:05Z' }] }],
  }
  const config = {
    ...(await upload('foreign', JSON.stringify(form))),
    mediaType: 'application/vnd.buildkit.cacheconfig.v0',
  }
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: type, config, layers: [layer] })
  const put = ['curl', '-sf', '-X', 'PUT', '-H', `Content-Type: ${type}`, '--data-binary', '@-']
  const url = `http://${registry.address}/v2/foreign/manifests/latest`
  assert.equal((await daemon.onHost([...put, url], { input: manifest })).code, 0)
  const output = await mustBuild(stages(), '--cache-from', from('foreign'))
  assert.match(output, /foreign was written by another builder: its keys say nothing here/)
  await forget()
})

test('a cache that cannot be written fails the build, unless it says that it does not matter', async () => {
  const folder = stages({ mark: 'refused' })
  await registry.fault(/^PUT .*\/refused\/manifests\//, { status: 403, text: 'no' }, 100)
  const failed = await build(folder, '-t', 'refused', '--cache-to', to('refused'))
  assert.notEqual(failed.code, 0)
  assert.match(failed.stderr, /ERROR: failed to solve: /)
  const output = await mustBuild(folder, '-t', 'refused', '--cache-to', to('refused', ',ignore-error=true'))
  assert.match(output, /going on without this cache/)
  await registry.wellAgain()
  await forget('refused')
})

test('caches of services that are not there are refused before a step runs', async () => {
  for (const option of ['--cache-to', '--cache-from']) {
    const { code, stderr } = await build(stages(), option, 'type=s3,region=r,bucket=b,name=n')
    assert.notEqual(code, 0)
    assert.match(stderr, /a cache of the type s3 .* is not implemented/)
    assert.doesNotMatch(stderr, /\[made 2\/5\]/)
  }
  const unknown = await build(stages(), '--cache-to', 'type=magic,ref=x')
  assert.match(unknown.stderr, /unknown cache exporter: "magic"/)
})

test('no secret is in a cache, nor is what it was called by', async () => {
  const folder = context([
    'FROM busybox',
    'RUN --mount=type=secret,id=key,env=KEY echo $KEY | wc -c >/length',
  ])
  const env = { SECRET_VALUE: 'do not tell of me' }
  const args = ['--secret', 'id=key,env=SECRET_VALUE', '--cache-to', to('secret', ',mode=max'), folder]
  const outcome = await daemon.docker(['buildx', 'build', ...args], { env })
  assert.equal(outcome.code, 0, outcome.stderr)
  const { config } = await manifestOf('secret')
  const url = `http://${registry.address}/v2/secret/blobs/${config.digest}`
  const { stdout } = await daemon.onHost(['curl', '-sf', url])
  assert.match(stdout, /"records"/)
  for (const form of [env.SECRET_VALUE, digestOf(env.SECRET_VALUE).slice(7)])
    assert.ok(!stdout.includes(form))
})

test('two builds that read one cache at once, and a daemon that dies, leave what is right', async () => {
  const folder = stages({ mark: 'twice' })
  await mustBuild(folder, '-t', 'twice', '--cache-to', to('twice', ',mode=max'))
  const id = await idOfImage(daemon, 'twice')
  await forget('twice')
  const both = await Promise.all(
    ['one', 'two'].map(tag => mustBuild(folder, '-t', tag, '--cache-from', from('twice'))),
  )
  for (const output of both) assert.deepEqual(stepsOf(output).ran, [])
  assert.deepEqual([await idOfImage(daemon, 'one'), await idOfImage(daemon, 'two')], [id, id])
  await daemon.restart()
  assert.deepEqual(stepsOf(await mustBuild(folder, '-t', 'one')).ran, [])
  await forget('one', 'two')
  await audit(daemon, 'caches')
})
