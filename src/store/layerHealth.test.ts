import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { BerthError, hasCode } from '../core/errors.ts'
import { setXattr } from '../linux/xattrs.ts'
import { directory, file, link, type Member, makeTar, openStores, type Stores, symlink } from './fixture.ts'
import { openLayerStore } from './layers.ts'
import type { LayerPlace } from './types.ts'

/** What is damaged by hand in an unpacked layer is told in words, and mended from its blob. */

const below: Member[] = [directory('etc'), file('etc/kept', 'kept'), file('shared', 'from below')]
const members: Member[] = [
  directory('etc', { mode: 0o755 }),
  file('etc/passwd', 'root:x:0:0', { mode: 0o644 }),
  file('etc/.wh.kept', ''),
  file('run', '#!/bin/sh', { mode: 0o4755 }),
  link('run2', 'run'),
  link('mine', 'shared'),
  symlink('sh', 'run'),
  file('deep/er/file', 'deep'),
]

const placed = async (stores: Stores): Promise<LayerPlace> => {
  const [lower, layer] = await stores.stack(below, members)
  assert.ok(lower && layer)
  return { layer, source: await stores.source(await makeTar(members)), below: [lower] }
}

const damages: [string, (path: string) => void, RegExp[]][] = [
  [
    'content',
    path => writeFileSync(join(path, 'etc/passwd'), 'toor:x:0:0'),
    [/"\/etc\/passwd" has other content/],
  ],
  ['size', path => writeFileSync(join(path, 'etc/passwd'), ''), [/passwd" has 0 bytes in place of 10/]],
  ['mode', path => chmodSync(join(path, 'run'), 0o755), [/"\/run" has the mode 0755 in place of 4755/]],
  ['owner', path => chownSync(join(path, 'etc'), 7, 8), [/"\/etc" belongs to 7:8 in place of 0:0/]],
  ['a missing file', path => rmSync(join(path, 'etc/passwd')), [/"\/etc\/passwd" is missing/]],
  [
    'a missing folder',
    path => rmSync(join(path, 'deep'), { recursive: true }),
    [/"\/deep" is missing/, /er\/file" is missing/],
  ],
  ['an added file', path => writeFileSync(join(path, 'etc/more'), ''), [/"\/etc\/more" is not in the blob/]],
  ['an added link', path => linkSync(join(path, 'run'), join(path, 'run3')), [/"\/run3" is not in the blob/]],
  [
    'a file in place of a link',
    path => {
      rmSync(join(path, 'sh'))
      writeFileSync(join(path, 'sh'), '')
    },
    [/"\/sh" is a file in place of a symbolic link/],
  ],
  [
    'another target',
    path => {
      rmSync(join(path, 'sh'))
      symlinkSync('elsewhere', join(path, 'sh'))
    },
    [/"\/sh" leads to "elsewhere" in place of "run"/],
  ],
  [
    'a hard link that is none',
    path => {
      rmSync(join(path, 'run2'))
      writeFileSync(join(path, 'run2'), '#!/bin/sh')
    },
    [/"\/run2" is no hard link to "\/run"/],
  ],
  [
    'a copy from below',
    path => writeFileSync(join(path, 'mine'), 'from aside'),
    [/"\/mine" has other content/],
  ],
  [
    'a lost whiteout',
    path => rmSync(join(path, 'etc/kept')),
    [/"\/etc\/kept" is to be hidden, and its whiteout is missing/],
  ],
  [
    'an opaque mark',
    path => setXattr(join(path, 'etc'), 'trusted.overlay.opaque', Buffer.from('y')),
    [/"\/etc" hides all that is below it, and should not/],
  ],
  [
    'an attribute',
    path =>
      setXattr(
        join(path, 'run'),
        'security.capability',
        Buffer.from('0100000200040000000000000000000000000000', 'hex'),
      ),
    [/"\/run" has an attribute security.capability/],
  ],
]

for (const [what, damage, words] of damages)
  test(`${what} of a layer is told, and mended`, async () => {
    await using stores = await openStores()
    const place = await placed(stores)
    damage(place.layer.path)
    const { count, differences } = await stores.layers.compare(place)
    const told = differences.map(difference => `${difference.path} ${difference.what}`)
    for (const word of words)
      assert.ok(
        told.some(line => word.test(line)),
        told.join('\n'),
      )
    assert.ok(count >= words.length && count <= words.length + 1, told.join('\n'))
    {
      using remade = await stores.layers.remake(place)
      assert.equal(remade.replace([]), true)
    }
    assert.deepEqual((await stores.layers.compare(place)).differences, [])
    await stores.layers.idle()
    assert.deepEqual(
      readdirSync(join(stores.root, 'layers')).filter(name => name.startsWith('.')),
      [],
    )
  })

test('whiteouts that are kept in a file are compared, too', async () => {
  await using stores = await openStores({ whiteouts: 'record', snapshotter: 'copy' })
  const place = await placed(stores)
  writeFileSync(join(place.layer.path, '../whiteouts.json'), '{"whiteouts":[],"opaques":["deep"]}')
  const { differences } = await stores.layers.compare(place)
  assert.deepEqual(differences, [
    { path: '"/deep"', what: 'is hidden, and should not be' },
    { path: '"/etc/kept"', what: 'is to be hidden, and is not' },
  ])
})

test('a mounted layer that is replaced stays as it is until it is unmounted', async () => {
  await using stores = await openStores()
  const place = await placed(stores)
  await stores.uppers.create('one', [...place.below, place.layer])
  const root = await stores.uppers.mount('one')
  writeFileSync(join(place.layer.path, 'etc/passwd'), 'toor:x:0:0')
  const users = stores.uppers.mountedWith(place.layer.key)
  assert.deepEqual(users, ['one'])
  using remade = await stores.layers.remake(place)
  remade.replace(users)
  assert.equal(readFileSync(join(root, 'etc/passwd'), 'utf8'), 'toor:x:0:0')
  assert.equal(readFileSync(join(place.layer.path, 'etc/passwd'), 'utf8'), 'root:x:0:0')
  const [old = ''] = stores.layers.replaced()
  await stores.layers.recover()
  stores.layers.recoverReplaced(key => stores.uppers.mountedWith(key))
  assert.equal(
    readFileSync(join(root, 'sh'), 'utf8'),
    '#!/bin/sh',
    'its whole content is there, whoever starts',
  )
  await stores.uppers.unmount('one')
  stores.layers.released('one')
  assert.deepEqual(stores.layers.replaced(), [])
  assert.equal(existsSync(old), false)
  assert.equal(readFileSync(join(await stores.uppers.mount('one'), 'etc/passwd'), 'utf8'), 'root:x:0:0')
  await stores.uppers.unmount('one')
})

test('a layer whose folder is gone is unpacked again, and one without a blob says what to do', async () => {
  await using stores = await openStores()
  const place = await placed(stores)
  rmSync(join(place.layer.path, '..'), { recursive: true })
  await assert.rejects(stores.layers.compare(place), error => hasCode(error, 'not-found'))
  await stores.uppers.create('one', [...place.below, place.layer])
  await assert.rejects(stores.uppers.mount('one'), /the layer .* is not on the disk any more: pull or load/)
  {
    using remade = await stores.layers.remake(place)
    remade.replace([])
  }
  assert.deepEqual((await stores.layers.compare(place)).differences, [])
  await stores.content.remove(place.source.blob)
  await assert.rejects(stores.layers.remake(place), /its blob is not in the content store; pull or load/)
})

test('a layer that lost its record stays for who has it mounted, and is unpacked again for others', async () => {
  await using stores = await openStores()
  const place = await placed(stores)
  await stores.uppers.create('one', [...place.below, place.layer])
  const root = await stores.uppers.mount('one')
  assert.equal(stores.layers.look(place.layer), undefined)
  rmSync(join(place.layer.path, '../layer.json'))
  assert.equal(stores.layers.look(place.layer), 'record')
  const again = openLayerStore({ ...stores, bootId: 'this boot' })
  await again.recover()
  again.recoverReplaced(key => stores.uppers.mountedWith(key))
  assert.equal(again.replaced().length, 1)
  assert.equal(readFileSync(join(root, 'sh'), 'utf8'), '#!/bin/sh')
  const lower = place.below.map(({ diffId }) => ({ blob: diffId, diffId }))
  await again.ensure([...lower, place.source])
  assert.deepEqual((await again.compare(place)).differences, [])
  await stores.uppers.unmount('one')
  again.released('one')
  assert.deepEqual(again.replaced(), [])
  await again.idle()
})

test('a removed layer does not come back', async () => {
  await using stores = await openStores()
  const place = await placed(stores)
  {
    using remade = await stores.layers.remake(place)
    await stores.layers.remove(place.layer.key)
    assert.equal(remade.replace([]), false)
  }
  await stores.layers.idle()
  assert.equal(readdirSync(join(stores.root, 'layers')).length, 1)
  mkdirSync(join(stores.root, 'layers', '.replaced-left'))
  stores.layers.recoverReplaced(() => [])
  assert.equal(readdirSync(join(stores.root, 'layers')).length, 1)
})

/** Members by a fixed sequence that looks like chance: names meet, through links and whiteouts too. */
const chance = (seed: number) => {
  let state = seed
  const below = (n: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)] as T
  const path = (): string => Array.from({ length: 1 + below(3) }, () => pick(['a', 'b', 'c', 'd'])).join('/')
  const owner = () => ({ uid: below(3), gid: below(3) })
  const member = (): Member =>
    pick([
      () => file(path(), 'x'.repeat(below(5000)), { mode: pick([0o644, 0o4755]), ...owner() }),
      () => file(path(), 'y', { mode: pick([0o600, 0o2755]), ...owner() }),
      () => directory(path(), { mode: pick([0o755, 0o700, 0o1777, 0o2775]), ...owner() }),
      () => link(path(), path()),
      () => symlink(path(), pick([path(), `../${path()}`, `/${path()}`, 'nowhere'])),
      () => file(path().replace(/[^/]+$/, '.wh.$&')),
      () => file(`${path()}/.wh..wh..opq`),
      () => ({ name: path(), type: 'fifo', mode: 0o640 }) satisfies Member,
    ])()
  return { members: (most: number): Member[] => Array.from({ length: 1 + below(most) }, member) }
}

for (const whiteouts of ['overlay', 'record'] as const)
  test(`whatever is unpacked is found as its blob tells, whiteouts by ${whiteouts}`, async () => {
    await using stores = await openStores({
      whiteouts,
      snapshotter: whiteouts === 'overlay' ? 'api' : 'copy',
    })
    const { members: some } = chance(2)
    let unpacked = 0
    for (let round = 0; round < 120; round++)
      try {
        await stores.stack(some(6), some(10))
        unpacked++
      } catch (error) {
        // Many such archives are refused.
        if (!(error instanceof BerthError)) throw error
      }
    assert.ok(unpacked > 20, `${unpacked}`)
  })
