import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { hasCode } from '../../../core/errors.ts'
import { RecentlyUsed } from '../../../core/recentlyUsed.ts'
import { AT_FDCWD, makeNodeAt } from '../../../linux/files.ts'
import { S_IFCHR } from '../../../linux/stat.ts'
import { setXattr } from '../../../linux/xattrs.ts'
import type { Digest } from '../../../oci/digest.ts'
import { digestOf } from '../../../oci/digest.ts'
import type { Selection } from '../../solver/types.ts'
import { copyOf, type Folders, openFolders } from '../testing/folders.ts'
import { type ContentDigest, contentDigest } from './contentDigest.ts'

const all: Selection = {
  path: '/',
  wildcards: false,
  followLinks: true,
  include: [],
  exclude: [],
  ignoreOwner: false,
  ignoreMode: false,
}

const put = (folder: string, path: string, content = 'x'): void => {
  mkdirSync(join(folder, dirname(path)), { recursive: true })
  writeFileSync(join(folder, path), content)
}

const digest = async (
  { pool }: Folders,
  layers: string | string[],
  more: Partial<Selection> & {
    known?: (path: string) => `sha256:${string}` | undefined
    digests?: RecentlyUsed<Digest>
  } = {},
): Promise<ContentDigest> => {
  const { known, digests = new RecentlyUsed<Digest>(100), ...selection } = more
  return await contentDigest({
    pool,
    layers: [layers].flat().map(path => ({ path })),
    selection: { ...all, ...selection },
    ref: 'abc',
    digests,
    explained: 100,
    signal: new AbortController().signal,
    ...(known ? { known } : {}),
  })
}

const fill = (folder: string): string => {
  put(folder, 'dir/a', 'a')
  put(folder, 'dir/sub/b', 'b')
  put(folder, 'other/c', 'c')
  put(folder, 'x.txt', 'text')
  symlinkSync('dir/a', join(folder, 'link'))
  return folder
}

describe('what changes it', () => {
  const changes: [string, (folder: string) => void][] = [
    ['bytes', folder => put(folder, 'dir/a', 'b')],
    ['a name', folder => renameSync(join(folder, 'dir/a'), join(folder, 'dir/z'))],
    ['a new file', folder => put(folder, 'dir/new')],
    ['a new folder', folder => mkdirSync(join(folder, 'dir/new'))],
    ['one that is gone', folder => unlinkSync(join(folder, 'dir/sub/b'))],
    ['a mode', folder => chmodSync(join(folder, 'dir/a'), 0o600)],
    ['a folder’s mode', folder => chmodSync(join(folder, 'dir/sub'), 0o700)],
    ['an owner', folder => chownSync(join(folder, 'dir/a'), 1, 0)],
    ['an attribute', folder => setXattr(join(folder, 'dir/a'), 'user.x', Buffer.from('1'))],
    [
      'a kind',
      folder => {
        unlinkSync(join(folder, 'dir/a'))
        symlinkSync('a', join(folder, 'dir/a'))
      },
    ],
  ]
  for (const [name, change] of changes)
    test(`${name}, where it is seen, and only there`, async () => {
      await using folders = openFolders()
      const folder = fill(folders.folder())
      const before = await digest(folders, folder, { path: '/dir' })
      const elsewhere = await digest(folders, folder, { path: '/other' })
      change(folder)
      assert.notEqual((await digest(folders, folder, { path: '/dir' })).digest, before.digest)
      assert.equal((await digest(folders, folder, { path: '/other' })).digest, elsewhere.digest)
    })

  test('the target of a link', async () => {
    await using folders = openFolders()
    const folder = fill(folders.folder())
    const { digest: before } = await digest(folders, folder)
    unlinkSync(join(folder, 'link'))
    symlinkSync('dir/b', join(folder, 'link'))
    assert.notEqual((await digest(folders, folder)).digest, before)
  })

  test('times, and where the tree lies, do not', async () => {
    await using folders = openFolders()
    const [one, other] = [fill(folders.folder()), fill(folders.folder())]
    utimesSync(join(other, 'dir/a'), 5, 5)
    linkSync(join(other, 'dir/a'), join(folders.root, 'linked'))
    assert.deepEqual(await digest(folders, one), await digest(folders, other))
  })

  test('owners and modes do not where they are set anew', async () => {
    await using folders = openFolders()
    const folder = fill(folders.folder())
    const given = { ignoreMode: true, ignoreOwner: true }
    const { digest: before } = await digest(folders, folder, given)
    chownSync(join(folder, 'dir/a'), 1, 2)
    chmodSync(join(folder, 'dir/a'), 0o4711)
    assert.equal((await digest(folders, folder, given)).digest, before)
    assert.notEqual((await digest(folders, folder, { ignoreMode: true })).digest, before)
  })
})

describe('what is seen', () => {
  const seen = async (more: Partial<Selection>): Promise<string[]> => {
    await using folders = openFolders()
    const { paths } = await digest(folders, fill(folders.folder()), more)
    return paths.map(([path]) => path)
  }

  test('a folder, a file, what a link leads to', async () => {
    assert.deepEqual(await seen({ path: '/dir' }), ['/', '/a', '/sub', '/sub/b'])
    assert.deepEqual(await seen({ path: '/link' }), ['/'])
    assert.deepEqual(await seen({ path: '/dir/../dir/sub/' }), ['/', '/b'])
  })

  test('what patterns match, under its name', async () => {
    assert.deepEqual(await seen({ path: '/*.txt', wildcards: true }), ['/x.txt'])
    assert.deepEqual(await seen({ path: '/d*', wildcards: true }), [
      '/dir',
      '/dir/a',
      '/dir/sub',
      '/dir/sub/b',
    ])
    assert.deepEqual(await seen({ path: '/no*', wildcards: true }), [])
  })

  test('what is included, with the folders on the way', async () => {
    assert.deepEqual(await seen({ include: ['dir/sub/b'] }), ['/', '/dir', '/dir/sub', '/dir/sub/b'])
    assert.deepEqual(await seen({ path: '/dir', exclude: ['sub'] }), ['/', '/a'])
  })

  test('what is not there is told as BuildKit does', async () => {
    await assert.rejects(
      seen({ path: '/nosuch' }),
      error =>
        hasCode(error, 'not-found') &&
        (error as Error).message === 'failed to calculate checksum of ref abc: "/nosuch": not found',
    )
  })
})

describe('a stack', () => {
  test('counts as what it shows', async () => {
    await using folders = openFolders()
    const whole = folders.folder()
    put(whole, 'd/kept')
    put(whole, 'd/new', 'new')
    const [lower, upper] = [folders.folder(), folders.folder()]
    put(lower, 'd/kept')
    put(lower, 'd/gone')
    put(lower, 'd/new', 'old')
    put(upper, 'd/new', 'new')
    makeNodeAt({ dir: AT_FDCWD, name: join(upper, 'd/gone') }, S_IFCHR)
    assert.deepEqual(await digest(folders, [lower, upper]), await digest(folders, whole))
  })
})

describe('digests that are known', () => {
  test('are not computed again, and what was computed is kept within a bound', async () => {
    await using folders = openFolders()
    const folder = fill(folders.folder())
    const digests = new RecentlyUsed<Digest>(3)
    const before = await digest(folders, folder, { digests })
    assert.equal(digests.size, 3)
    const asked: string[] = []
    const known = (path: string) => {
      asked.push(path)
      return digestOf(path === 'x.txt' ? 'text' : path.slice(-1))
    }
    assert.deepEqual(await digest(folders, folder, { known }), before)
    assert.deepEqual(asked, ['dir/a', 'dir/sub/b', 'other/c', 'x.txt'])
    const lying = await digest(folders, folder, { known: () => digestOf('another') })
    assert.notEqual(lying.digest, before.digest)
  })

  test('of a file that has changed since they are not used', async () => {
    await using folders = openFolders()
    const folder = fill(folders.folder())
    const digests = new RecentlyUsed<Digest>(100)
    const before = await digest(folders, folder, { digests })
    rmSync(join(folder, 'dir/a'))
    put(folder, 'dir/a', 'z')
    const after = await digest(folders, folder, { digests })
    assert.notEqual(after.digest, before.digest)
    const changed = after.paths.filter(
      ([path, own]) => !before.paths.some(other => other[0] === path && other[1] === own),
    )
    assert.deepEqual(
      changed.map(([path]) => path),
      ['/dir/a'],
    )
  })

  test('paths are told as far as asked', async () => {
    await using folders = openFolders()
    const given = {
      pool: folders.pool,
      layers: [{ path: fill(folders.folder()) }],
      selection: all,
      digests: new RecentlyUsed<Digest>(100),
      signal: new AbortController().signal,
    }
    const few = await contentDigest({ ...given, explained: 2 })
    assert.deepEqual([few.paths.length, few.isCut], [2, true])
    assert.deepEqual(await contentDigest(given), { digest: few.digest, paths: [], isCut: false })
  })
})

test('equal digests copy to equal trees, and what a copy sees changes the digest', async () => {
  await using folders = openFolders()
  const name = fc.constantFrom('a', 'b', 'c')
  const file = fc.record({
    names: fc.array(name, { minLength: 1, maxLength: 3 }),
    text: name,
    mode: fc.constantFrom(0o644, 0o755),
  })
  const files = fc.array(file, { minLength: 1, maxLength: 4 })
  const path = fc.constantFrom('/', '/a', '/*', '/a/*', '/[ab]/c')
  const make = (list: { names: string[]; text: string; mode: number }[]): string => {
    const folder = folders.folder()
    for (const { names, text, mode } of list)
      try {
        put(folder, names.join('/'), text)
        chmodSync(join(folder, names.join('/')), mode)
      } catch {
        // A file where a folder is to be, or the other way round.
      }
    return folder
  }
  const attempt = async <T>(work: Promise<T>): Promise<T | string> =>
    work.catch(error => String(error.message))
  await fc.assert(
    fc.asyncProperty(files, files, path, async (one, other, source) => {
      const trees = [make(one), make(other)]
      const seen = await Promise.all(
        trees.map(tree =>
          attempt(digest(folders, tree, { path: source, wildcards: true }).then(found => found.digest)),
        ),
      )
      const copied = await Promise.all(
        trees.map(tree =>
          attempt(
            folders
              .run([copyOf(source, '/x/')], { inputs: [{ layers: [{ path: tree }], ref: 'abc' }] })
              .then(o => o.tree().join('\n')),
          ),
        ),
      )
      if (seen[0] === seen[1]) assert.equal(copied[0], copied[1])
      if (copied[0] !== copied[1]) assert.notEqual(seen[0], seen[1])
    }),
    { numRuns: 60 },
  )
})
