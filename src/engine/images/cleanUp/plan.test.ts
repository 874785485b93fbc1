import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CleanUpLimits } from '../../settings.ts'
import { cleanUpLimits, type GivenLimits, hasLimit } from './limits.ts'
import { type ImageFacts, planCleanUp, type StoreFacts } from './plan.ts'

const hour = 3_600_000
const now = 1_000 * hour

/** An image last used so many hours ago; parts are `name` or `name:bytes`, of 100 bytes unless told. */
const image = (id: string, hours: number, parts: string, more: Partial<ImageFacts> = {}): ImageFacts => ({
  id,
  names: [`${id}:latest`],
  lastUsed: now - hours * hour,
  parent: '',
  usedBy: '',
  keptBy: '',
  parts: parts.split(' ').map(part => {
    const [name = '', bytes = '100'] = part.split(':')
    return { id: name, bytes: Number(bytes) }
  }),
  ...more,
})

const facts = (images: ImageFacts[], more: Partial<StoreFacts> = {}): StoreFacts => {
  const parts = new Map(images.flatMap(entry => entry.parts).map(part => [part.id, part.bytes]))
  const stored = [...parts.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { images, pinned: new Set(), stored, free: 500, capacity: 1000, now, ...more }
}

const plan = (limits: Partial<CleanUpLimits>, at: StoreFacts) => planCleanUp({ keep: [], ...limits }, at)

const gone = (found: ReturnType<typeof plan>): string[] =>
  found.removals.map(({ id, bytes }) => `${id} ${bytes}`)

test('what was not used for longer than max-age goes, and nothing else', () => {
  const found = plan(
    { maxAge: 24 * hour },
    facts([image('old', 25, 'a'), image('young', 23, 'b'), image('older', 900, 'c')]),
  )
  assert.deepEqual(gone(found), ['older 100', 'old 100'])
  assert.equal(found.removals[1]?.why, 'not used for 25h, longer than max-age 24h')
  assert.deepEqual(found.stays, [
    { id: 'young', names: ['young:latest'], lastUsed: now - 23 * hour, why: 'within the limits' },
  ])
})

test('the least recently used go until max-size holds', () => {
  const at = facts([image('a', 3, 'a'), image('b', 2, 'b'), image('c', 1, 'c')])
  assert.deepEqual(gone(plan({ maxSize: 300 }, at)), [])
  assert.deepEqual(gone(plan({ maxSize: 299 }, at)), ['a 100'])
  assert.deepEqual(gone(plan({ maxSize: 150 }, at)), ['a 100', 'b 100'])
  assert.equal(plan({ maxSize: 150 }, at).removals[1]?.why, 'images take 200 B, more than max-size 150 B')
})

test('what is shared is freed with its last user, and never where a container needs it', () => {
  const images = [image('a', 3, 'shared own1'), image('b', 2, 'shared own2'), image('c', 1, 'own3')]
  assert.deepEqual(gone(plan({ maxSize: 100 }, facts(images))), ['a 100', 'b 200'])
  const pinned = new Set(['shared'])
  const found = plan({ maxSize: 150 }, facts(images, { pinned }))
  assert.deepEqual(gone(found), ['a 100', 'b 100', 'c 100'])
  assert.equal(found.bytes, 300)
  assert.deepEqual(found.short, [])
})

test('min-free is a size, or a share of the disk', () => {
  const at = facts([image('a', 2, 'a'), image('b', 1, 'b')])
  assert.deepEqual(gone(plan({ minFree: { bytes: 500 } }, at)), [])
  assert.deepEqual(gone(plan({ minFree: { bytes: 501 } }, at)), ['a 100'])
  assert.deepEqual(gone(plan({ minFree: { share: 0.65 } }, at)), ['a 100', 'b 100'])
})

test('what is in use or protected stays, and a limit that does not hold then is told', () => {
  const found = plan(
    { maxSize: 50, maxAge: hour },
    facts([
      image('used', 90, 'a', { usedBy: 'the container web' }),
      image('kept', 80, 'b', { keptBy: 'label=keep' }),
      image('free', 70, 'c'),
    ]),
  )
  assert.deepEqual(gone(found), ['free 100'])
  assert.deepEqual(
    found.stays.map(({ why }) => why),
    ['in use by the container web', 'kept by label=keep'],
  )
  assert.deepEqual(found.short, ['images take 200 B, more than max-size 50 B'])
})

test('an image goes after those that were built upon it, or stays with them', () => {
  const family = (child: Partial<ImageFacts>) =>
    facts([image('base', 90, 'a'), image('child', 5, 'a b', { parent: 'base', ...child })])
  assert.deepEqual(gone(plan({ maxAge: hour }, family({}))), ['child 100', 'base 100'])
  assert.deepEqual(gone(plan({ maxAge: 24 * hour }, family({}))), [])
  const kept = plan({ maxAge: hour }, family({ keptBy: 'label=keep' }))
  assert.deepEqual(gone(kept), [])
  assert.equal(kept.stays[0]?.why, 'other images were built upon it')
})

test('a plan that removes the same has the same id, another one has not', () => {
  const images = [image('a', 3, 'a'), image('b', 2, 'b')]
  const one = plan({ maxAge: hour }, facts(images))
  assert.equal(plan({ maxAge: hour }, facts(images, { now: now + hour })).id, one.id)
  assert.notEqual(plan({ maxSize: 100 }, facts(images)).id, one.id)
  const renamed = [{ ...(images[0] as ImageFacts), names: ['other:1'] }, image('b', 2, 'b')]
  assert.notEqual(plan({ maxAge: hour }, facts(renamed)).id, one.id)
})

test('limits are read, or refused with what was expected', () => {
  assert.deepEqual(cleanUpLimits({ maxSize: '1.5k', maxAge: '1h30m', minFree: '10%', keep: ['label=a=b'] }), {
    maxSize: 1536,
    maxAge: 90 * 60_000,
    minFree: { share: 0.1 },
    keep: ['label=a=b'],
  })
  assert.deepEqual(cleanUpLimits({ minFree: '1m' }), { minFree: { bytes: 1 << 20 }, keep: [] })
  assert.equal(hasLimit(cleanUpLimits({ keep: ['reference=busybox*'] })), false)
  const wrong: [GivenLimits, RegExp][] = [
    [{ maxSize: 'much' }, /invalid value "much" for max-size: want a size as 20GB/],
    [{ maxAge: '3 weeks' }, /invalid value "3 weeks" for max-age: want a duration as 720h or 90m/],
    [{ minFree: '100%' }, /invalid value "100%" for min-free: want less than 100%/],
    [{ keep: ['name=x'] }, /invalid value "name=x" for keep: want label=/],
    [{ keep: ['label'] }, /for keep/],
  ]
  for (const [limits, words] of wrong) assert.throws(() => cleanUpLimits(limits), words)
})
