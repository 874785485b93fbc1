import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imageCleanUpOf } from './cleanUp.ts'

const read = (value?: unknown) =>
  imageCleanUpOf(new Map(value === undefined ? [] : [['image-clean-up', value]]))

test('without the key nothing goes by itself', () => {
  assert.deepEqual(read(), { keep: [], interval: 24 * 3_600_000 })
})

test('each part is read', () => {
  assert.deepEqual(
    read({ 'max-size': '20GB', 'max-age': '720h', 'min-free': '10%', keep: ['label=keep'], interval: '1h' }),
    {
      maxSize: 20 * 1024 ** 3,
      maxAge: 720 * 3_600_000,
      minFree: { share: 0.1 },
      keep: ['label=keep'],
      interval: 3_600_000,
    },
  )
  assert.equal(read({ interval: '0' }).interval, 0)
})

test('what is wrong is refused by its name', () => {
  const wrong: [object, RegExp][] = [
    [
      { 'max-sise': '1g' },
      /image-clean-up: unknown max-sise: use max-size, max-age, min-free, keep, interval/,
    ],
    [{ 'max-size': 5 }, /image-clean-up: max-size must be a text, not 5/],
    [{ 'max-age': 'old' }, /image-clean-up: invalid value "old" for max-age: want a duration/],
    [{ keep: 'label=x' }, /image-clean-up: keep must be a list of texts, not "label=x"/],
    [{ keep: ['x'] }, /image-clean-up: invalid value "x" for keep/],
    [{ interval: '1s' }, /invalid value "1s" for interval: at least 10s, or 0/],
  ]
  for (const [value, words] of wrong) assert.throws(() => read(value), words)
})
