import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** `info`, `version` and `system df`, in all forms that clients know. */

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  await daemon.mustDocker(['volume', 'create', 'unused'])
  const write = ['busybox', 'sh', '-c', 'dd if=/dev/zero of=/v/f bs=1024 count=100 2>/dev/null; echo x > /f']
  await daemon.mustDocker(['run', '--name', 'ended', '-v', 'used:/v', ...write])
  await daemon.mustDocker(['run', '-d', '--name', 'runs', 'busybox', 'sleep', '1000'])
})
after(() => daemon.close())

interface Sums {
  ActiveCount?: number
  TotalCount?: number
  TotalSize?: number
  Reclaimable?: number
  Items?: object[]
}

interface DiskUsage {
  LayersSize?: number
  Images?: { Size: number; VirtualSize?: number; Containers: number }[]
  Containers?: { SizeRw: number }[]
  Volumes?: { Name: string; UsageData: { Size: number; RefCount: number } }[]
  BuildCache?: object[]
  ImageUsage?: Sums
  ContainerUsage?: Sums
  VolumeUsage?: Sums
  BuildCacheUsage?: Sums
  Berth?: object
}

const usage = (version: string, query = ''): Promise<DiskUsage> =>
  daemon.json('GET', `/v${version}/system/df?${query}`)

test('before 1.52 disk usage is lists, by types since 1.42', async () => {
  const all = await usage('1.51')
  assert.deepEqual(
    [all.Images?.length, all.Containers?.length, all.Volumes?.length, all.BuildCache, all.ImageUsage],
    [1, 2, 2, [], undefined],
  )
  assert.equal(all.LayersSize, all.Images?.[0]?.Size)
  assert.equal(all.Images?.[0]?.Containers, 2)
  assert.deepEqual(all.Volumes?.map(({ Name, UsageData }) => [Name, UsageData.RefCount]).sort(), [
    ['unused', 0],
    ['used', 1],
  ])
  assert.equal((await usage('1.43')).Images?.[0]?.VirtualSize, all.Images?.[0]?.Size)
  const volumes = await usage('1.42', 'type=volume')
  assert.deepEqual(Object.keys(volumes), ['Volumes'])
  assert.equal((await usage('1.41', 'type=volume')).Containers?.length, 2)
})

test('since 1.52 it is sums, with the objects where they are asked for', async () => {
  const both = await usage('1.52')
  assert.equal(both.Containers?.length, 2)
  assert.deepEqual(
    [both.ContainerUsage?.ActiveCount, both.ContainerUsage?.TotalCount, both.ContainerUsage?.Items],
    [1, 2, undefined],
  )
  const verbose = await usage('1.52', 'verbose=1')
  assert.equal(verbose.Containers, undefined)
  assert.equal(verbose.ContainerUsage?.Items?.length, 2)
  const { VolumeUsage: volumes, ImageUsage: images } = verbose
  assert.deepEqual([volumes?.ActiveCount, volumes?.TotalCount, volumes?.Reclaimable], [1, 2, undefined])
  assert.equal(volumes?.TotalSize, 102_400)
  assert.deepEqual([images?.ActiveCount, images?.TotalCount, images?.TotalSize], [1, 1, both.LayersSize])
  assert.ok((verbose.ContainerUsage?.Reclaimable ?? 0) >= 2)
  assert.deepEqual(verbose.BuildCacheUsage, {})
})

test('a type that there is not is refused', async () => {
  const { status, text } = await daemon.api('GET', '/v1.55/system/df?type=pigs')
  assert.deepEqual([status, JSON.parse(text)], [400, { message: 'unknown object type: pigs' }])
})

test('the client shows it short and long', async () => {
  const short = await daemon.mustDocker(['system', 'df', '--format', '{{.Type}} {{.TotalCount}} {{.Active}}'])
  assert.equal(short, 'Images 1 1\nContainers 2 1\nLocal Volumes 2 1\nBuild Cache 0 0')
  assert.match(await daemon.mustDocker(['system', 'df', '-v']), /^unused +0 +0B$/m)
})

test('what old clients cannot read is not told them', async () => {
  const info = (version: string) =>
    daemon.json<{
      SecurityOptions: string[]
      Runtimes: Record<string, { status?: object }>
      RuncCommit: { Expected?: string }
      BridgeNfIptables?: boolean
    }>('GET', `/v${version}/info`)
  const [now, old] = [await info('1.55'), await info('1.24')]
  assert.ok(now.SecurityOptions.includes('name=seccomp,profile=builtin'))
  assert.ok(old.SecurityOptions.includes('seccomp'))
  assert.deepEqual([now.BridgeNfIptables, old.BridgeNfIptables], [undefined, false])
  assert.deepEqual([now.RuncCommit.Expected, typeof old.RuncCommit.Expected], [undefined, 'string'])
  assert.deepEqual(
    Object.values(old.Runtimes).map(({ status }) => status),
    Object.keys(old.Runtimes).map(() => undefined),
  )
})

test('networks were listed with their containers before 1.28', async () => {
  const count = async (version: string): Promise<number | undefined> => {
    const list = await daemon.json<{ Name: string; Containers: object }[]>('GET', `/v${version}/networks`)
    const bridge = list.find(({ Name }) => Name === 'bridge')
    return bridge && Object.keys(bridge.Containers).length
  }
  assert.deepEqual([await count('1.27'), await count('1.28')], [1, 0])
})

test('an experimental daemon says so, and a file of its own is the host’s resolver for containers', async () => {
  const own = path.join(daemon.base, 'resolv.conf')
  writeFileSync(own, 'nameserver 192.0.2.9\nsearch own.example\n')
  const config = path.join(daemon.base, 'daemon.json')
  writeFileSync(config, JSON.stringify({ experimental: true, 'resolv-conf': own }))
  await daemon.restart()
  assert.equal((await daemon.api('GET', '/_ping')).headers['docker-experimental'], 'true')
  assert.equal(await daemon.mustDocker(['version', '-f', '{{.Server.Experimental}}']), 'true')
  assert.equal(await daemon.mustDocker(['info', '-f', '{{.ExperimentalBuild}}']), 'true')
  const seen = await daemon.mustDocker(['run', '--rm', 'busybox', 'cat', '/etc/resolv.conf'])
  assert.match(seen, /nameserver 192\.0\.2\.9\nsearch own\.example/)
})
