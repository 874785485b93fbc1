import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeEntry } from './pluginEncoding.ts'

const hex = (text: string): string => Buffer.from(text).toString('hex')

test('an entry is its length and a protobuf message', () => {
  const entry = { text: 'ü', stream: 'stdout', time: '1970-01-01T00:00:00.0000003Z' } as const
  assert.equal(
    encodeEntry(entry).toString('hex'),
    `0000000f${`0a06${hex('stdout')}`}${'10ac02'}${`1a02${hex('ü')}`}`,
  )
})

test('a part tells whose it is, which, and whether it is the last', () => {
  const entry = { text: '', stream: 'stderr', time: '1970-01-01T00:00:00Z' } as const
  const part = (last: boolean): string =>
    encodeEntry({ ...entry, partial: { id: 'x', ordinal: 200, last } })
      .subarray(4)
      .toString('hex')
  const head = `0a06${hex('stderr')}1a002001`
  assert.equal(part(true), `${head}2a08${'0801'}${'120178'}${'18c801'}`)
  assert.equal(part(false), `${head}2a06${'120178'}${'18c801'}`)
})

test('times after the year 2038 and long lines keep all their bytes', () => {
  const text = 'x'.repeat(20_000)
  const encoded = encodeEntry({ text, stream: 'stdout', time: '2100-01-01T00:00:00.123456789Z' })
  assert.equal(encoded.readUInt32BE(), encoded.length - 4)
  assert.ok(encoded.toString('latin1').endsWith(text))
})
