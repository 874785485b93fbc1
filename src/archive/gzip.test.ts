import assert from 'node:assert/strict'
import { createHash, hash } from 'node:crypto'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { gzip } from './gzip.ts'

/** Text that compresses, and repeats itself over the borders of blocks. */
const text = (size: number): Buffer => {
  const lines = Array.from(
    { length: Math.ceil(size / 64) },
    (_, line) => `${hash('sha256', String(line % 997)).slice(0, 20)} line ${line % 100}\n`,
  )
  return Buffer.from(lines.join('').repeat(3)).subarray(0, size)
}

async function* pieces(bytes: Buffer, piece: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece)
}

const compressed = async (bytes: Buffer, piece = 65_536): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(gzip(pieces(bytes, piece))))

test('what was compressed in blocks is one stream that any reader undoes', async () => {
  for (const size of [0, 1, (1 << 19) - 1, 1 << 19, (1 << 19) + 1, 5_000_000]) {
    const bytes = text(size)
    const result = await compressed(bytes)
    assert.ok(gunzipSync(result).equals(bytes), String(size))
    // One member: its trailer tells the length of the whole.
    assert.equal(result.readUInt32LE(result.length - 4), size)
  }
})

test('a level that is told is that of all', async () => {
  const bytes = text(2_000_000)
  const at = async (level: number): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(gzip(pieces(bytes, 65_536), level)))
  const [none, best] = [await at(0), await at(9)]
  assert.ok(none.length > bytes.length && best.length < bytes.length / 4)
  for (const result of [none, best]) assert.ok(gunzipSync(result).equals(bytes))
})

test('the same bytes give the same stream, in whatever pieces they come', async () => {
  const bytes = text(3_000_000)
  const digests = await Promise.all(
    [1000, 65_536, 3_000_000].map(async piece =>
      createHash('sha256')
        .update(await compressed(bytes, piece))
        .digest('hex'),
    ),
  )
  assert.equal(new Set(digests).size, 1)
})

test('what does not compress is stored, among what does', async () => {
  const noise = Buffer.concat(
    Array.from({ length: 1 << 16 }, (_, index) => hash('sha256', String(index), 'buffer')),
  )
  const bytes = Buffer.concat([text(1 << 20), noise, text(1 << 20), noise.subarray(0, 700_000)])
  const result = await compressed(bytes)
  assert.ok(gunzipSync(result).equals(bytes))
  const least = noise.length + 700_000
  assert.ok(result.length > least && result.length < least + 300_000, String(result.length - least))
  // As it was: nowhere else would a Huffman coder leave it so.
  assert.ok(result.includes(noise.subarray(1 << 20, (1 << 20) + 1000)))
})

test('blocks share what came before them', async () => {
  const block = Buffer.alloc(4 << 20, text(30_000))
  assert.ok((await compressed(block)).length < 60_000)
})

test('an error of the source is the reader’s', async () => {
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield text(2_000_000)
    throw new Error('gone')
  }
  await assert.rejects(Array.fromAsync(gzip(failing())), /gone/)
})
