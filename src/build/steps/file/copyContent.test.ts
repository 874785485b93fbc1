import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { hasCode } from '../../../core/errors.ts'
import { setXattr, xattrNames } from '../../../linux/xattrs.ts'
import { copyOf, fill, names, openFolders } from '../testing/folders.ts'

describe('links to files that are never changed', () => {
  const large = Buffer.alloc(100_000, 'x').toString()
  const shared = (path: string) => [{ layers: [{ path }], isShareable: true }]

  test('are made where nothing about them changes', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'd/large': large, 'd/small': 'x' })
    const outcome = await folders.run([copyOf('/d', '/x')], { inputs: shared(source) })
    const { ino } = statSync(join(source, 'd/large'))
    assert.equal(statSync(join(outcome.path, 'x/large')).ino, ino)
    assert.deepEqual(outcome.linked, [ino])
    assert.notEqual(statSync(join(outcome.path, 'x/small')).ino, statSync(join(source, 'd/small')).ino)
  })

  test('are not where owner or mode change, for others, or where a layer below has the inode', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { large })
    const { ino } = statSync(join(source, 'large'))
    const isLinked = async (...args: [Parameters<typeof copyOf>[2], object?]): Promise<boolean> => {
      const outcome = await folders.run([copyOf('/large', '/x', args[0])], {
        inputs: shared(source),
        ...args[1],
      })
      return statSync(join(outcome.path, 'x')).ino === ino
    }
    assert.equal(await isLinked({ mode: '644' }), true)
    assert.equal(await isLinked({ mode: '600' }), false)
    assert.equal(await isLinked({ owner: { user: '1', names: 'base' } }), false)
    assert.equal(await isLinked({}, { inputs: [{ layers: [{ path: source }] }] }), false)
    assert.equal(await isLinked({}, { linked: new Set([ino]) }), false)
  })

  test('are not where the file has attributes of overlayfs', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { large })
    setXattr(join(source, 'large'), 'trusted.overlay.metacopy', Buffer.alloc(0))
    const outcome = await folders.run([copyOf('/large', '/x')], { inputs: shared(source) })
    assert.deepEqual(xattrNames(join(outcome.path, 'x')), [])
  })

  test('one inode comes once', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { large })
    const outcome = await folders.run([copyOf('/large', '/x'), copyOf('/large', '/y')], {
      inputs: shared(source),
    })
    assert.notEqual(statSync(join(outcome.path, 'x')).ino, statSync(join(outcome.path, 'y')).ino)
  })

  test('a file that is written afterwards is another', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { large })
    const outcome = await folders.run(
      [copyOf('/large', '/x'), { kind: 'makeFile', path: '/x', content: 'new', mode: 0o600 }],
      { inputs: shared(source) },
    )
    assert.deepEqual(outcome.tree(), ['x 100644 0:0 new'])
    assert.equal(readFileSync(join(source, 'large'), 'utf8'), large)
  })
})

describe('archives', () => {
  const packed = (folders: { folder(): string }, flags: string, name: string): string => {
    const content = fill(folders.folder(), { 'd/f': 'f', g: 'g' })
    chownSync(join(content, 'g'), 5, 6)
    const source = folders.folder()
    execFileSync('tar', [flags, join(source, name), '-C', content, 'd', 'g'])
    return source
  }

  for (const [flags, name] of [
    ['-cf', 'a.tar'],
    ['-czf', 'a.tar.gz'],
    ['-cjf', 'a.tar.bz2'],
    ['-cJf', 'a.tar.xz'],
    ['-I zstd -cf', 'a.tar.zst'],
  ] as const)
    test(`${name} is unpacked`, async () => {
      await using folders = openFolders()
      const source = flags.startsWith('-I') ? packed(folders, '-cf', 'a.tar') : packed(folders, flags, name)
      if (flags.startsWith('-I'))
        execFileSync('zstd', ['-q', '--rm', join(source, 'a.tar'), '-o', join(source, name)])
      const inputs = [{ layers: [{ path: source }] }]
      const outcome = await folders.run([copyOf(`/${name}`, '/x/y', { unpack: true })], { inputs })
      assert.deepEqual(outcome.tree(), [
        'x 40755 0:0',
        'x/y 40755 0:0',
        'x/y/d 40755 0:0',
        'x/y/d/f 100644 0:0 f',
        'x/y/g 100644 5:6 g',
      ])
      const owned = await folders.run(
        [copyOf(`/${name}`, '/', { unpack: true, owner: { user: '7', names: 'base' } })],
        { inputs },
      )
      assert.deepEqual(owned.tree(), ['d 40755 7:7', 'd/f 100644 7:7 f', 'g 100644 7:7 g'])
    })

  test('what is none is copied, compressed or not', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'a.tar': 'no archive', empty: '', 'd/f': 'f' })
    execFileSync('gzip', ['-k', join(source, 'a.tar')])
    const outcome = await folders.run(
      ['/a.tar', '/a.tar.gz', '/empty', '/d'].map(path => copyOf(path, '/x/', { unpack: true })),
      { inputs: [{ layers: [{ path: source }] }] },
    )
    assert.deepEqual(names(outcome.tree()), ['x', 'x/a.tar', 'x/a.tar.gz', 'x/empty', 'x/f'])
  })

  test('one that leads out is refused', async () => {
    await using folders = openFolders()
    const source = folders.folder()
    execFileSync('tar', ['-cPf', join(source, 'a.tar'), '--transform', 's,.*,../../evil,', '/etc/hostname'])
    await assert.rejects(
      folders.run([copyOf('/a.tar', '/x/', { unpack: true })], { inputs: [{ layers: [{ path: source }] }] }),
      error => hasCode(error, 'archive-breakout'),
    )
    rmSync(source, { recursive: true })
  })
})
