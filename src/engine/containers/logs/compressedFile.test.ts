import assert from 'node:assert/strict'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { headerOf } from './compressedFile.ts'
import { type LogFile, listLogFiles, openLogFile, tailOffset } from './files.ts'
import { LineReader } from './lineReader.ts'

const text = `${Array.from({ length: 50_000 }, (_, index) => `line ${index}`).join('\n')}\n`

/** As the daemon writes it. */
const compressed = (content: string, inode = 7): Buffer => {
  const lines = content.split('\n').length - 1
  return Buffer.concat([headerOf({ inode, size: Buffer.byteLength(content), lines }), gzipSync(content)])
}

const linesFrom = async (file: LogFile, tail: number): Promise<string[]> => {
  const handle = (await openLogFile(file)) ?? assert.fail('it is gone')
  const { offset, lines } = await tailOffset(handle, tail)
  await using reader = new LineReader(file, handle, { offset })
  const all: string[] = []
  for (let next = await reader.read(); next; next = await reader.read()) all.push(...next)
  if (all.at(-1)?.startsWith('line')) assert.equal(all.length, lines)
  return all
}

test('a compressed file is read as its text is, from any line of its end', async () => {
  using folder = mkdtempDisposableSync('/tmp/berth-compressed-')
  const log = path.join(folder.path, 'log')
  writeFileSync(`${log}.1`, text)
  writeFileSync(`${log}.2.gz`, compressed(text))
  assert.equal(gunzipSync(compressed(text)).toString(), text)
  const [plain, packed] = await listLogFiles(log)
  assert.ok(plain && packed)
  assert.deepEqual([plain.isCompressed, packed.isCompressed, packed.sequence], [false, true, 2])
  await using handle = (await openLogFile(packed)) ?? assert.fail('it is gone')
  assert.deepEqual(await handle.stat(), { ino: 7, size: text.length })
  for (const tail of [0, 1, 2, 777, 49_999, 50_000, 60_000])
    assert.deepEqual(await linesFrom(packed, tail), await linesFrom(plain, tail))
})

test('of a file in both forms the plain one counts; one that was compressed after it was listed is found', async () => {
  using folder = mkdtempDisposableSync('/tmp/berth-compressed-')
  const log = path.join(folder.path, 'log')
  writeFileSync(`${log}.1.gz`, compressed('old\n'))
  writeFileSync(`${log}.1`, 'new\n')
  const files = await listLogFiles(log)
  assert.deepEqual(files, [{ sequence: 1, path: `${log}.1`, isCompressed: false }])
  const gone = { sequence: 2, path: `${log}.2`, isCompressed: false }
  assert.equal(await openLogFile(gone), undefined)
  writeFileSync(`${log}.2.gz`, compressed('there\n'))
  assert.deepEqual(await linesFrom(gone, 5), ['there'])
})

test('a damaged file gives what can be read of it, and says that the rest cannot be', async () => {
  using folder = mkdtempDisposableSync('/tmp/berth-compressed-')
  const whole = compressed(text)
  const damaged = { sequence: 1, path: path.join(folder.path, 'log.1.gz'), isCompressed: true }
  writeFileSync(damaged.path, whole.subarray(0, whole.length >> 1))
  const lines = await linesFrom(damaged, 100_000)
  assert.equal(lines[0], 'line 0')
  assert.match(
    lines.at(-1) ?? '',
    /^\{"log":"\[berth\] the rest of a compressed file of this log cannot be read: /,
  )
})
