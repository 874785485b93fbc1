import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { hasCode } from '../core/errors.ts'
import { compress, decompress, detectCompression } from './compression.ts'

const plain = Buffer.from('some text, many times '.repeat(40_000))

const packed: Record<string, Buffer> = {
  none: plain,
  gzip: gzipSync(plain),
  zstd: zstdCompressSync(plain),
  xz: execFileSync('xz', ['-c'], { input: plain }),
  bzip2: execFileSync('bzip2', ['-c'], { input: plain }),
}

/** Sizes that choose Node's zlib, and a tool where one is installed. */
const sizes = [1, 100 << 20]

const undo = async (bytes: Buffer, size: number, step = bytes.length): Promise<Buffer> => {
  const chunks = Array.from({ length: Math.ceil(bytes.length / step) }, (_, n) =>
    bytes.subarray(n * step, (n + 1) * step),
  )
  const { stream } = await decompress(Readable.from(chunks), { size })
  return Buffer.concat(await Array.fromAsync(stream))
}

test('a program that is missing is called by its name and its package', async () => {
  const path = process.env['PATH'] ?? ''
  process.env['PATH'] = '/nowhere'
  try {
    for (const [kind, name] of [
      ['xz', 'xz-utils'],
      ['bzip2', 'bzip2'],
    ] as const)
      await assert.rejects(
        undo(packed[kind] ?? plain, 1),
        new RegExp(`compressed by ${kind}, and this host has no program '${kind}'.*apt install ${name}\\)`),
      )
    assert.deepEqual(await undo(packed['gzip'] ?? plain, 100 << 20), plain)
  } finally {
    process.env['PATH'] = path
  }
})

for (const [kind, bytes] of Object.entries(packed)) {
  test(`${kind} is told by its first bytes and undone`, async () => {
    assert.equal(detectCompression(bytes), kind)
    for (const size of sizes) {
      assert.deepEqual(await undo(bytes, size), plain)
      assert.deepEqual(await undo(bytes.subarray(0), size, kind === 'none' ? 1000 : 7), plain)
    }
  })
  if (kind === 'none') continue

  test(`cut ${kind} is an error`, async () => {
    for (const size of sizes)
      await assert.rejects(undo(bytes.subarray(0, bytes.length - 10), size), error =>
        hasCode(error, 'bad-request'),
      )
  })
}

test('several members in a row are one stream', async () => {
  for (const kind of ['gzip', 'zstd'] as const)
    for (const size of sizes)
      assert.equal(
        (await undo(Buffer.concat([packed[kind] ?? plain, packed[kind] ?? plain]), size)).length,
        2 * plain.length,
      )
})

test('zstd that starts with a skippable frame is zstd', async () => {
  const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
  assert.deepEqual(await undo(Buffer.concat([skippable, packed['zstd'] ?? plain]), 1), plain)
})

test("a source's own error comes through", async () => {
  for (const size of sizes) {
    const source = (async function* () {
      yield (packed['gzip'] ?? plain).subarray(0, 100)
      throw new Error('connection lost')
    })()
    await assert.rejects(
      async () => Array.fromAsync((await decompress(source, { size })).stream),
      /connection lost/,
    )
  }
})

test('an empty source is empty', async () => {
  assert.equal((await undo(Buffer.alloc(0), 0, 1)).length, 0)
})

test('what is compressed can be undone', async () => {
  for (const kind of ['none', 'gzip', 'zstd'] as const) {
    const bytes = Buffer.concat(
      await Array.fromAsync(compress(kind, Readable.from([plain], { objectMode: false }))),
    )
    assert.equal(detectCompression(bytes), kind)
    assert.deepEqual(await undo(bytes, 1), plain)
  }
  assert.throws(() => compress('xz', Readable.from([])), /not implemented/)
})
