import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { BerthError } from '../core/errors.ts'
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, openAt, owned } from '../linux/files.ts'
import { ContentComparison } from './compareContent.ts'
import { isDiskError } from './diskErrors.ts'
import { tarEntry } from './writer.ts'

/** Compares a file of a folder with chunks at offsets. */
const same = (
  folder: string,
  name: string,
  wanted: { size: number; chunks: [Buffer, number][] },
): boolean => {
  using dir = owned(openAt(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY))
  const entry = tarEntry({ type: 'file', name, size: wanted.size })
  using content = ContentComparison.of(entry, { path: name, dir: dir.fd, name: Buffer.from(name) })
  assert.ok(content)
  for (const [chunk, offset] of wanted.chunks) content.data(chunk, offset)
  return content.end()
}

const withFile = (use: (folder: string, name: string) => void): void => {
  const folder = mkdtempSync('/tmp/berth-compare-')
  try {
    use(folder, 'file')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('content is compared at its offsets, and holes are zeros', () =>
  withFile((folder, name) => {
    const file = join(folder, name)
    writeFileSync(file, 'head')
    truncateSync(file, 200 << 20)
    const head: [Buffer, number] = [Buffer.from('head'), 0]
    assert.equal(same(folder, name, { size: 200 << 20, chunks: [head] }), true)
    assert.equal(same(folder, name, { size: 200 << 20, chunks: [[Buffer.from('heat'), 0]] }), false)
    assert.equal(
      same(folder, name, { size: 200 << 20, chunks: [head, [Buffer.from('x'), 150 << 20]] }),
      false,
    )
    assert.equal(same(folder, name, { size: 200 << 20, chunks: [] }), false, 'the head is no hole')
  }))

test('what a disk does not give is a difference, not a failure', () => {
  // A process has nothing at its address 0, for which the kernel gives the error of a bad disk.
  assert.equal(same('/proc/self', 'mem', { size: 0, chunks: [[Buffer.from('x'), 0]] }), false)
  assert.equal(isDiskError(Object.assign(new Error('read'), { code: 'EUCLEAN' })), true)
  assert.equal(isDiskError(new BerthError('system', 500, 'read', { cause: 'EIO' })), true)
  assert.equal(isDiskError(new BerthError('not-found', 404, 'read', { cause: 'ENOENT' })), false)
})
