import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDistribution } from '../src/registry-client/testing/distribution.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { busyboxArchive } from './harness/images.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
let registry: ImageRegistry
before(async () => {
  daemon = await startDaemon()
  registry = await ImageRegistry.start(daemon.namespace)
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Line {
  status?: string
  id?: string
  progressDetail?: { current?: number; total?: number }
  progress?: string
  error?: string
  errorDetail?: { message: string }
}

/** A pull as its lines. */
const pulled = async (name: string, tag: string, more: Record<string, string> = {}) => {
  const query = new URLSearchParams({ fromImage: name, tag, ...more })
  const { status, text } = await daemon.api('POST', `/images/create?${query}`)
  const lines = text.split('\r\n').flatMap(line => (line ? [JSON.parse(line) as Line] : []))
  return { status, text, lines }
}

test('an image is pulled by tag, runs, and is up to date then', async () => {
  const { digest } = await registry.serve({ repository: 'team/box', tag: '1', which: 'one', bytes: 6 << 20 })
  const name = `${registry.address}/team/box:1`
  const said = await docker('pull', name)
  assert.match(said, /1: Pulling from .*team\/box\n/)
  assert.match(said, new RegExp(`Digest: ${digest}\n`))
  assert.match(said, /Status: Downloaded newer image for .*team\/box:1\n/)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'one')
  assert.equal(
    await docker('image', 'inspect', '-f', '{{index .RepoDigests 0}} {{index .RepoTags 0}}', name),
    `${registry.address}/team/box@${digest} ${name}`,
  )
  await registry.seen()
  assert.match(await docker('pull', name), /Status: Image is up to date for .*team\/box:1/)
  const asked = await registry.seen()
  assert.ok(
    !asked.some(line => line.startsWith('GET') && line.includes('/blobs/') && line.includes('bytes=')),
  )
})

test('layers come in every packing, and from where a foreign one lies', async () => {
  for (const packing of ['gzip', 'zstd', 'none', 'foreign'] as const) {
    const repository = `packed-${packing}`
    const { layers } = await registry.serve({ repository, tag: '1', which: packing, packing, bytes: 1 << 20 })
    if (packing === 'foreign')
      for (const layer of layers)
        await registry.fault(new RegExp(`/${repository}/blobs/${layer}`), { status: 404 }, 100)
    const name = `${registry.address}/${repository}:1`
    await docker('pull', '-q', name)
    assert.equal(await docker('run', '--rm', name, 'cat', '/which'), packing)
  }
})

test('what a registry does not have, or does not give, is told in its words and with a status', async () => {
  const absent = await pulled(`${registry.address}/team/box`, 'none')
  assert.equal(absent.status, 404, absent.text)
  assert.match(absent.text, /manifest for .*team\/box:none not found: manifest unknown: manifest unknown/)
  await registry.fault(/\/v2\/team\/secret\//, {
    status: 403,
    text: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
  })
  const denied = await pulled(`${registry.address}/team/secret`, '1')
  assert.equal(denied.status, 404, denied.text)
  assert.match(denied.text, /pull access denied for .*team\/secret, repository does not exist or may require/)
  await registry.serve({
    repository: 'chart',
    tag: '1',
    which: 'c',
    mediaType: 'application/vnd.cncf.helm.config.v1+json',
  })
  const chart = await pulled(`${registry.address}/chart`, '1')
  assert.equal(chart.status, 400, chart.text)
  assert.match(
    chart.text,
    /Encountered remote \\"application\/vnd.cncf.helm.config.v1\+json\\"\(unknown\) when fetching/,
  )
  assert.equal((await pulled('scratch', 'latest')).status, 403)
  assert.equal((await pulled('Upper/Case', 'latest')).status, 400)
  assert.match(await closedPort(), /connection refused|ECONNREFUSED/i)
})

const closedPort = async (): Promise<string> => {
  const { code, stderr } = await daemon.docker(['pull', '127.0.0.1:9/nobody:1'])
  assert.equal(code, 1)
  return stderr
}

test('a pull by digest has that name alone', async () => {
  const { digest } = await registry.serve({ repository: 'team/box', tag: '2', which: 'two' })
  const name = `${registry.address}/team/box@${digest}`
  const said = await docker('pull', name)
  assert.match(said, new RegExp(`Digest: ${digest}\nStatus: Downloaded newer image for .*@${digest}`))
  assert.equal(await docker('image', 'inspect', '-f', '{{.RepoTags}} {{.RepoDigests}}', name), `[] [${name}]`)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'two')
})

test('all tags are pulled, page by page', async () => {
  for (const tag of ['a', 'b', 'c']) await registry.serve({ repository: 'many', tag, which: tag })
  const said = await docker('pull', '-a', `${registry.address}/many`)
  assert.deepEqual(
    [...said.matchAll(/^(\w): Pulling from/gm)].map(match => match[1]),
    ['a', 'b', 'c'],
  )
  assert.match(said, /Status: Downloaded newer image for [^:]*:\d+\/many\n/)
  for (const tag of ['a', 'b', 'c'])
    assert.equal(await docker('run', '--rm', `${registry.address}/many:${tag}`, 'cat', '/which'), tag)
})

test('of an index the platform that is asked for is taken, else this host’s', async () => {
  const name = `${registry.address}/multi:1`
  const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const digest = await registry.serveIndex('multi', '1', [
    { repository: 'multi', tag: 'x', which: 'other', architecture: 's390x' },
    { repository: 'multi', tag: 'y', which: 'own' },
  ])
  assert.match(await docker('pull', name), new RegExp(`Digest: ${digest}`))
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'own')
  assert.equal(await docker('image', 'inspect', '-f', '{{.Architecture}}', name), own)
  await docker('pull', '--platform', 'linux/s390x', name)
  // The name goes on meaning this host's image, which is still here.
  assert.equal(await docker('image', 'inspect', '-f', '{{.Architecture}}', name), own)
  assert.equal(await docker('run', '--rm', '--platform', 'linux/s390x', name, 'cat', '/which'), 'other')
  const none = await daemon.docker(['pull', '--platform', 'linux/riscv64', name])
  assert.match(none.stderr, /no matching manifest for linux\/riscv64 in the manifest list entries/)
  assert.equal((await pulled('multi', '1', { platform: 'nonsense' })).status, 400)
  const single = await docker('pull', '--platform', 'linux/s390x', `${registry.address}/team/box:1`)
  assert.match(
    single,
    /WARNING: image with reference .* does not match the specified platform: wanted linux\/s390x/,
  )
})

test('progress goes through its stages, and never backwards', async () => {
  await registry.serve({ repository: 'progress', tag: '1', which: 'progress', bytes: 8 << 20 })
  const { status, lines } = await pulled(`${registry.address}/progress`, '1')
  assert.equal(status, 200)
  assert.deepEqual(lines[0], {
    status: 'Pulling from progress'.replace('progress', `${registry.address}/progress`),
    id: '1',
  })
  const big = lines.find(({ progressDetail }) => (progressDetail?.total ?? 0) > 8 << 20)?.id
  const ofBig = lines.filter(({ id }) => id === big)
  const stages = ofBig.map(line => line.status).filter((stage, index, all) => stage !== all[index - 1])
  assert.deepEqual(
    stages.filter(stage => stage !== 'Waiting'),
    [
      'Pulling fs layer',
      'Downloading',
      'Verifying Checksum',
      'Download complete',
      'Extracting',
      'Pull complete',
    ],
  )
  for (const stage of ['Downloading', 'Extracting']) {
    const bytes = ofBig.flatMap(line => (line.status === stage ? (line.progressDetail?.current ?? []) : []))
    assert.ok(bytes.length > 0, stage)
    assert.deepEqual(
      bytes,
      [...bytes].sort((a, b) => a - b),
    )
    assert.ok(ofBig.some(({ progress }) => /^\[=*> *\] .*MB\/.*MB$/.test(progress ?? '')))
  }
  assert.equal(lines.filter(line => line.status === 'Already exists').length, 1, 'the layer of busybox')
  assert.match(lines.at(-2)?.status ?? '', /^Digest: sha256:/)
  assert.match(lines.at(-1)?.status ?? '', /^Status: Downloaded newer image for /)
})

test('bytes that are cut off, or wrong, do no harm', async () => {
  await registry.serve({ repository: 'cut', tag: '1', which: 'cut', bytes: 4 << 20 })
  await registry.fault(/\/v2\/cut\/blobs\//, { cutAfter: 100_000 }, 5)
  await docker('pull', '-q', `${registry.address}/cut:1`)
  assert.equal(await docker('run', '--rm', `${registry.address}/cut:1`, 'cat', '/which'), 'cut')
  const wrong = await registry.serve({ repository: 'wrong', tag: '1', which: 'wrong', bytes: 1 << 20 })
  for (const [blob, words] of [
    [wrong.config, /image config verification failed for digest sha256:/],
    [wrong.layers[2] ?? '', /the content has the digest sha256:.*, expected was sha256:/],
  ] as const) {
    await registry.fault(new RegExp(blob), { corrupt: true })
    const { status, lines } = await pulled(`${registry.address}/wrong`, '1')
    assert.equal(status, 200)
    assert.match(lines.at(-1)?.error ?? '', words)
    assert.deepEqual(lines.at(-1)?.errorDetail, { message: lines.at(-1)?.error })
    assert.equal((await daemon.docker(['image', 'inspect', `${registry.address}/wrong:1`])).code, 1)
  }
  await docker('pull', '-q', `${registry.address}/wrong:1`)
  assert.equal(await docker('run', '--rm', `${registry.address}/wrong:1`, 'cat', '/which'), 'wrong')
})

const blobNames = (): string[] => readdirSync(path.join(daemon.dataRoot, 'blobs/sha256'))

const blobSize = (name: string): number => statSync(path.join(daemon.dataRoot, 'blobs/sha256', name)).size

/** A client that pulls, which can be made to leave. */
const startPull = (name: string) => {
  const client = spawn(daemon.client, ['pull', name], {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  client.stderr.on('data', chunk => {
    stderr += chunk
  })
  const ended = new Promise<{ code: number | null; stderr: string }>(resolve =>
    client.once('close', code => resolve({ code, stderr })),
  )
  return {
    ended,
    leave: async () => {
      client.kill('SIGKILL')
      await ended
    },
  }
}

/** A pull of an image whose large layer stops half-way: its client, and what that takes to go on. */
const stuckPull = async (repository: string) => {
  const { layers } = await registry.serve({ repository, tag: '1', which: repository, bytes: 5 << 20 })
  const big = layers[2] ?? ''
  await registry.fault(new RegExp(big), { silentAfter: 3 << 20 })
  const name = `${registry.address}/${repository}:1`
  const client = startPull(name)
  const partial = `.partial-${big.slice(7)}`
  await until('half of it was there', () => blobNames().includes(partial) && blobSize(partial) >= 1 << 20)
  return { name, big, partial, ...client }
}

/** It goes on: the big layer is asked for by a range. */
const goesOn = async ({ name, big, partial }: Awaited<ReturnType<typeof stuckPull>>): Promise<void> => {
  await registry.seen()
  await docker('pull', name)
  const asked = (await registry.seen()).filter(line => line.includes(big))
  assert.match(asked.join(), /^GET [^,]* bytes=[1-9]\d*-[^,]*$/)
  assert.ok(!blobNames().includes(partial))
  await docker('run', '--rm', name, 'true')
}

test('a pull ends with its client, and the next one goes on where it was', async () => {
  const stuck = await stuckPull('leaving')
  await stuck.leave()
  await until('it has ended', async () => (await operations()).length === 0)
  assert.ok(blobNames().includes(stuck.partial))
  await goesOn(stuck)
})

interface Listed {
  Id: string
  Verb: string
  Step: string
}

const operations = async (): Promise<Listed[]> =>
  (await daemon.json<Listed[]>('GET', '/berth/v1/operations')).filter(({ Verb }) => Verb === 'pull')

test('a pull is listed, and can be cancelled', async () => {
  const stuck = await stuckPull('cancelled')
  const [pull] = await operations()
  assert.match(pull?.Step ?? '', /fetching layers of .*cancelled:1/)
  await daemon.json('DELETE', `/berth/v1/operations/${pull?.Id}`)
  const outcome = await stuck.ended
  assert.equal(outcome.code, 1)
  assert.match(outcome.stderr, /pull of image .*cancelled:1 was cancelled by/)
  await goesOn(stuck)
})

/** A pull whose lines are looked at while they come. */
const streamedPull = (name: string) => {
  const at = name.lastIndexOf(':')
  const query = new URLSearchParams({ fromImage: name.slice(0, at), tag: name.slice(at + 1) })
  let text = ''
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const asking = request(
    { socketPath: daemon.socket, method: 'POST', path: `/images/create?${query}` },
    answer => {
      answer.on('data', chunk => {
        text += chunk
      })
      answer.once('close', resolve)
    },
  )
  asking.end()
  return { said: () => text, ended, [Symbol.dispose]: () => void asking.destroy() }
}

test('another client that wants the same shares what is under way, and keeps it when the first leaves', async () => {
  await registry.seen()
  const stuck = await stuckPull('shared')
  using second = streamedPull(stuck.name)
  await until('it has joined', () =>
    second.said().includes(`"status":"Downloading","progressDetail":{"current"`),
  )
  await stuck.leave()
  await until('the first has left', async () => (await operations()).length === 1)
  const asked = (await registry.seen()).filter(line => line.includes(stuck.big))
  assert.equal(asked.length, 1, asked.join('\n'))
  const [left] = await operations()
  await daemon.json('DELETE', `/berth/v1/operations/${left?.Id}`)
  await second.ended
  assert.match(second.said(), /"error":"pull of image .* was cancelled by/)
  await goesOn(stuck)
})

test('what came outlives the daemon; prune takes it away', async () => {
  const stuck = await stuckPull('outlives')
  await daemon.restart()
  await stuck.ended
  assert.ok(blobNames().includes(stuck.partial))
  await goesOn(stuck)
  const other = await stuckPull('pruned')
  await other.leave()
  await until('it has ended', async () => (await operations()).length === 0)
  assert.ok(blobNames().includes(other.partial))
  await docker('image', 'prune', '-f')
  assert.ok(!blobNames().includes(other.partial))
})

test('Debian’s registry gives what was pushed to it', async () => {
  await using _registry = await startDistribution({ namespace: daemon.namespace, address: ':5000' })
  const copy = ['skopeo', 'copy', '-q', '--dest-tls-verify=false', `docker-archive:${await busyboxArchive()}`]
  await until('it took an image', async () => {
    const { code } = await daemon.onHost([...copy, 'docker://localhost:5000/library/busybox:1'])
    return code === 0
  })
  const said = await docker('pull', 'localhost:5000/library/busybox:1')
  assert.match(said, /Status: Downloaded newer image for localhost:5000\/library\/busybox:1/)
  assert.equal(
    await docker('run', '--rm', 'localhost:5000/library/busybox:1', 'echo', 'from afar'),
    'from afar',
  )
  const absent = await daemon.docker(['pull', 'localhost:5000/library/busybox:2'])
  assert.match(absent.stderr, /manifest for localhost:5000\/library\/busybox:2 not found: manifest unknown/)
})

test('a registry that wants a name and a password gets them after docker login', async () => {
  await using locked = await ImageRegistry.start(daemon.namespace, {
    basic: { username: 'anna', password: 'her secret' },
  })
  await locked.serve({ repository: 'private', tag: '1', which: 'private' })
  const name = `${locked.address}/private:1`
  const refused = await daemon.docker(['pull', name])
  assert.equal(refused.code, 1)
  const wrong = await daemon.docker(['login', '-u', 'anna', '--password-stdin', locked.address], {
    input: 'not hers',
  })
  assert.equal(wrong.code, 1)
  assert.ok(!`${wrong.stderr}${daemon.log}`.includes('not hers'))
  await daemon.mustDocker(['login', '-u', 'anna', '--password-stdin', locked.address], {
    input: 'her secret',
  })
  await docker('pull', name)
  assert.equal(await docker('run', '--rm', name, 'cat', '/which'), 'private')
  assert.ok(!daemon.log.includes('her secret'))
  const garbled = await daemon.api('GET', `/distribution/${name}/json`, undefined, {
    'X-Registry-Auth': 'no base64!',
  })
  assert.equal(garbled.status, 400, garbled.text)
  assert.match(garbled.text, /invalid X-Registry-Auth header: must be a valid base64url-encoded string/)
})

test('a registry is searched', async () => {
  await registry.searchable([
    { name: 'busybox', description: 'tiny', star_count: 30, is_official: true },
    { name: 'team/box', description: 'ours', star_count: 2 },
  ])
  const term = `${registry.address}/box`
  const names = (...options: string[]) =>
    docker('search', '--format', '{{.IsOfficial}} {{.Name}} {{.StarCount}}', ...options, term)
  assert.equal(await names(), '[OK] busybox 30\n team/box 2')
  assert.equal(await names('--limit', '1'), '[OK] busybox 30')
  assert.equal(await names('--filter', 'is-official=false'), ' team/box 2')
  assert.equal(await names('--filter', 'stars=3'), '[OK] busybox 30')
  assert.equal(await names('--filter', 'is-automated=true'), '')
  const refused = async (query: Record<string, string>) => {
    const { status, text } = await daemon.api(
      'GET',
      `/images/search?${new URLSearchParams({ term, ...query })}`,
    )
    assert.equal(status, 400, text)
    return text
  }
  assert.match(await refused({ limit: '101' }), /limit 101 is outside the range of \[1, 100\]/)
  assert.match(await refused({ limit: '-1' }), /invalid limit specified/)
  assert.match(await refused({ filters: '{"stars":["x"]}' }), /invalid filter 'stars=x'/)
  assert.match(await refused({ filters: '{"is-official":["x"]}' }), /invalid filter 'is-official=\[x\]'/)
  assert.match(await refused({ filters: '{"colour":["x"]}' }), /invalid filter 'colour'/)
  assert.match(await refused({ term: 'http://x/y' }), /should not have a scheme/)
})

interface Distribution {
  Descriptor: { mediaType: string; digest: string; size: number }
  Platforms: { os: string; architecture: string }[] | null
}

test('what a registry has under a name is told without a pull', async () => {
  const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const single = await registry.serve({ repository: 'asked', tag: '1', which: 'asked' })
  const images = [
    { repository: 'asked', tag: 'x', which: 'x', architecture: 's390x' },
    { repository: 'asked', tag: 'y', which: 'y', architecture: 'riscv64' },
  ]
  const index = await registry.serveIndex('asked', '2', images)
  const told = (tag: string) =>
    daemon.json<Distribution>('GET', `/distribution/${registry.address}/asked:${tag}/json`)
  const one = await told('1')
  assert.equal(one.Descriptor.digest, single.digest)
  assert.match(one.Descriptor.mediaType, /manifest/)
  assert.deepEqual(one.Platforms, [{ architecture: own, os: 'linux' }])
  const two = await told('2')
  assert.equal(two.Descriptor.digest, index)
  assert.deepEqual(
    two.Platforms?.map(({ architecture }) => architecture),
    ['s390x', 'riscv64'],
  )
  const none = await daemon.api('GET', `/distribution/${registry.address}/asked:3/json`)
  assert.equal(none.status, 404, none.text)
})

test('a mirror is asked for what is docker.io’s, and told by docker info', async () => {
  await registry.serve({ repository: 'library/mirrored', tag: 'latest', which: 'mirrored' })
  const mirror = `http://${registry.address}`
  await daemon.restart({
    flags: ['--registry-mirror', mirror, '--insecure-registry', 'registry.example:5000'],
  })
  await docker('pull', 'mirrored')
  assert.equal(await docker('run', '--rm', 'mirrored', 'cat', '/which'), 'mirrored')
  const { RegistryConfig } = await daemon.json<{
    RegistryConfig: {
      Mirrors: string[]
      InsecureRegistryCIDRs: string[]
      IndexConfigs: Record<string, { Mirrors: string[]; Secure: boolean; Official: boolean }>
    }
  }>('GET', '/info')
  assert.deepEqual(RegistryConfig.Mirrors, [`${mirror}/`])
  assert.ok(RegistryConfig.InsecureRegistryCIDRs.includes('127.0.0.0/8'))
  assert.equal(RegistryConfig.IndexConfigs['registry.example:5000']?.Secure, false)
  assert.deepEqual(RegistryConfig.IndexConfigs['docker.io']?.Mirrors, [`${mirror}/`])
})
