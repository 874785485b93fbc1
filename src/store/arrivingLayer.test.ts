import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { hasCode } from '../core/errors.ts'
import { digestOf } from '../oci/digest.ts'
import { assertClean, file, makeTar, openStores, type Stores } from './fixture.ts'
import type { ArrivingLayer, LayerSource } from './types.ts'

const MIB = 1 << 20

/** More than is gathered before it is written, behind a file that is waited for; no compression makes it smaller. */
const bigTar = async (): Promise<Buffer> =>
  await makeTar([
    file('first', randomBytes(6 * MIB)),
    file('second', randomBytes(6 * MIB)),
    file('last', 'x'),
  ])

/** Names of the tasks that workers got. */
const watchTasks = ({ pool }: Stores): string[] => {
  const names: string[] = []
  const run = pool.run.bind(pool)
  pool.run = (task, input, options) => {
    names.push(task)
    return run(task, input, options)
  }
  return names
}

/** Files of unfinished layers that have all their bytes. */
const unfinished = ({ root }: Stores, name: string): string[] =>
  readdirSync(join(root, 'layers')).flatMap(home => {
    const path = join(root, 'layers', home, 'diff', name)
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    return home.startsWith('.new-') && size === 6 * MIB ? [path] : []
  })

/** The bytes in pieces; before the piece at `until` it waits for the condition. */
async function* slowly(
  bytes: Uint8Array,
  { until, holds }: { until: number; holds: () => boolean },
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65536) {
    if (at >= until) while (!holds()) await sleep(5)
    yield bytes.subarray(at, at + 65536)
  }
}

const writeFollowed = async (
  stores: Stores,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  size: number,
): Promise<{ blob: LayerSource['blob']; arrived: () => ArrivingLayer }> => {
  const follower = stores.layers.follow({ size })
  const { digest } = await stores.content.write(source, { follower })
  return { blob: digest, arrived: () => follower }
}

for (const [name, pack] of [
  ['plain', (tar: Buffer) => tar],
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
] as const)
  test(`${name}: what has come of a layer is unpacked before the rest is there, and not once more`, async () => {
    await using stores = await openStores()
    const tasks = watchTasks(stores)
    const tar = await bigTar()
    const packed = pack(tar)
    const holds = (): boolean => unfinished(stores, 'first').length === 1
    const { blob, arrived } = await writeFollowed(
      stores,
      slowly(packed, { until: 11 * MIB, holds }),
      packed.length,
    )
    const seen: number[] = []
    const [layer] = await stores.layers.ensure([{ blob, diffId: digestOf(tar) }], {
      arrived,
      onProgress: (_, bytes) => seen.push(bytes),
    })
    assert.deepEqual(tasks, ['followLayer'])
    assert.equal(readFileSync(join(layer?.path ?? '', 'last'), 'utf8'), 'x')
    assert.equal(layer?.size, 12 * MIB + 1)
    assert.equal(seen.at(-1), packed.length)
    assert.deepEqual(await stores.content.info(blob), { digest: digestOf(packed), size: packed.length })
  })

test('a small one is unpacked when it is there', async () => {
  await using stores = await openStores()
  const tasks = watchTasks(stores)
  const tar = await makeTar([file('a', 'a')])
  const { blob, arrived } = await writeFollowed(stores, [tar], tar.length)
  assert.equal((await stores.layers.ensure([{ blob, diffId: blob }], { arrived })).length, 1)
  assert.deepEqual(tasks, ['unpackLayer'])
})

test('one that is not what the image says is refused, and nothing of it stays', async () => {
  await using stores = await openStores()
  const tar = await bigTar()
  const { blob, arrived } = await writeFollowed(stores, [tar], tar.length)
  const diffId = digestOf(Buffer.from('another'))
  await assert.rejects(stores.layers.ensure([{ blob, diffId }], { arrived }), error =>
    hasCode(error, 'digest-mismatch'),
  )
  await assertClean(stores)
})

test('a damaged one fails as it does when it is there', async () => {
  await using stores = await openStores()
  const tar = await bigTar()
  tar.fill('x', 6 * MIB + 512, 6 * MIB + 2048)
  const { blob, arrived } = await writeFollowed(stores, [tar], tar.length)
  await assert.rejects(stores.layers.ensure([{ blob, diffId: blob }], { arrived }), error =>
    hasCode(error, 'bad-request'),
  )
  await assertClean(stores)
})

test('a write that fails, and a layer that nobody takes, leave nothing', async () => {
  await using stores = await openStores()
  const tar = await bigTar()
  const cut = async function* (): AsyncGenerator<Uint8Array> {
    yield* slowly(tar.subarray(0, 11.5 * MIB), {
      until: 11 * MIB,
      holds: () => unfinished(stores, 'first').length === 1,
    })
    throw new Error('the connection is gone')
  }
  {
    using follower = stores.layers.follow()
    await assert.rejects(stores.content.write(cut(), { follower }), { message: 'the connection is gone' })
    using other = stores.layers.follow()
    await stores.content.write([tar], { follower: other })
  }
  while (readdirSync(join(stores.root, 'layers')).length > 0) await sleep(5)
  await assertClean(stores)
})

test('a writer that pauses keeps no worker from others', async () => {
  await using stores = await openStores()
  const tar = await bigTar()
  const others = await Promise.all(
    ['a', 'b', 'c', 'd'].map(async name => stores.source(await makeTar([file(name, name)]))),
  )
  let done = false
  const writes = Array.from({ length: 4 }, () =>
    writeFollowed(stores, slowly(tar, { until: 11 * MIB, holds: () => done }), tar.length),
  )
  while (unfinished(stores, 'first').length < 4) await sleep(5)
  assert.equal((await stores.layers.ensure(others)).length, 4)
  done = true
  for (const { arrived } of await Promise.all(writes)) arrived()[Symbol.dispose]()
})
