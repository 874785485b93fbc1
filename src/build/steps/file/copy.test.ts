import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { hasCode } from '../../../core/errors.ts'
import { AT_FDCWD, deviceNumber, makeNodeAt } from '../../../linux/files.ts'
import { S_IFCHR, S_IFIFO } from '../../../linux/stat.ts'
import { getXattr, setXattr } from '../../../linux/xattrs.ts'
import { copyOf, fill, names, openFolders } from '../testing/folders.ts'

const context = {
  'a.txt': 'a',
  'b.txt': 'b',
  'dir/one': '1',
  'dir/sub/two': '2',
  'dir/sub/three.md': '3',
  'other/four': '4',
}

describe('where things come to lie', () => {
  const cases: [string, string, string[]][] = [
    ['a file to a name', '/a.txt /x', ['x']],
    ['a file into a folder that is made', '/a.txt /x/', ['x', 'x/a.txt']],
    ['a file into folders that are made', '/a.txt /x/y/z', ['x', 'x/y', 'x/y/z']],
    ['a folder: what is in it', '/dir /x', ['x', 'x/one', 'x/sub', 'x/sub/three.md', 'x/sub/two']],
    ['a folder to the root', '/dir /', ['one', 'sub', 'sub/three.md', 'sub/two']],
    ['all to the root', '/other /', ['four']],
    ['files by a pattern', '/*.txt /x/', ['x', 'x/a.txt', 'x/b.txt']],
    [
      'folders by a pattern: what is in them',
      '/d* /x/',
      ['x', 'x/one', 'x/sub', 'x/sub/three.md', 'x/sub/two'],
    ],
    ['a pattern in the middle', '/dir/*/t*o /x/', ['x', 'x/two']],
    ['a class', '/[ab].txt /x/', ['x', 'x/a.txt', 'x/b.txt']],
    ['what no pattern matches: nothing', '/nosuch* /x/', []],
    ['dots are folded', '/dir/../a.txt /x', ['x']],
    ['dots do not lead above the root', '/../../a.txt /../x', ['x']],
  ]
  for (const [title, words, expected] of cases)
    test(title, async () => {
      await using folders = openFolders()
      const [source = '', destination = ''] = words.split(' ')
      const outcome = await folders.run([copyOf(source, destination)], {
        inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
      })
      assert.deepEqual(names(outcome.tree()), expected)
    })

  test('a file into a folder of the base, which keeps its mode and owner', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), { 'app/old': 'old' })
    chownSync(join(base, 'app'), 5, 6)
    chmodSync(join(base, 'app'), 0o710)
    const outcome = await folders.run([copyOf('/a.txt', '/app')], {
      base: [base],
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    assert.deepEqual(outcome.tree(), ['app 40710 5:6', 'app/a.txt 100644 0:0 a', 'app/old 100644 0:0 old'])
    assert.deepEqual(existsSync(join(outcome.path, 'app/old')), false, 'what is below is not copied')
  })

  test('a folder is merged into one that is there; files are replaced', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), { 'app/one': 'old', 'app/kept': 'kept', 'app/sub/two': 'old' })
    chmodSync(join(base, 'app/sub'), 0o700)
    const outcome = await folders.run([copyOf('/dir', '/app')], {
      base: [base],
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    assert.deepEqual(outcome.tree(), [
      'app 40755 0:0',
      'app/kept 100644 0:0 kept',
      'app/one 100644 0:0 1',
      'app/sub 40755 0:0',
      'app/sub/three.md 100644 0:0 3',
      'app/sub/two 100644 0:0 2',
    ])
  })

  test('a folder itself, where not its contents are asked for', async () => {
    await using folders = openFolders()
    const inputs = [{ layers: [{ path: fill(folders.folder(), context) }] }]
    const base = fill(folders.folder(), { 'app/': '' })
    const outcome = await folders.run([copyOf('/other', '/app', { contentsOnly: false })], {
      base: [base],
      inputs,
    })
    assert.deepEqual(names(outcome.tree()), ['app', 'app/other', 'app/other/four'])
    const fresh = await folders.run([copyOf('/other', '/new', { contentsOnly: false })], { inputs })
    assert.deepEqual(names(fresh.tree()), ['new', 'new/four'])
  })

  test('several actions see what those before them made', async () => {
    await using folders = openFolders()
    const outcome = await folders.run(
      [copyOf('/a.txt', '/x/'), copyOf('/b.txt', '/x'), copyOf('/b.txt', '/x/a.txt')],
      { inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }] },
    )
    assert.deepEqual(outcome.tree(), ['x 40755 0:0', 'x/a.txt 100644 0:0 b', 'x/b.txt 100644 0:0 b'])
  })

  test('links in the base are followed within it', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), { 'usr/bin/': '', 'srv/': '' })
    symlinkSync('usr/bin', join(base, 'bin'))
    symlinkSync('/srv/../srv', join(base, 'link'))
    symlinkSync('../../../usr', join(base, 'up'))
    const outcome = await folders.run(
      [copyOf('/a.txt', '/bin/'), copyOf('/a.txt', '/link/b'), copyOf('/b.txt', '/up/c')],
      { base: [base], inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }] },
    )
    assert.deepEqual(names(outcome.tree()), [
      'bin',
      'link',
      'srv',
      'srv/b',
      'up',
      'usr',
      'usr/bin',
      'usr/bin/a.txt',
      'usr/c',
    ])
    assert.ok(lstatSync(join(base, 'bin')).isSymbolicLink())
  })

  test('a link to nothing is made through', async () => {
    await using folders = openFolders()
    const base = folders.folder()
    symlinkSync('/var/data', join(base, 'data'))
    const outcome = await folders.run([copyOf('/a.txt', '/data/')], {
      base: [base],
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    assert.deepEqual(names(outcome.tree()), ['data', 'var', 'var/data', 'var/data/a.txt'])
  })
})

describe('what is in the way', () => {
  const refused = async (
    base: Record<string, string>,
    words: [string, string],
    expected: RegExp,
  ): Promise<void> => {
    await using folders = openFolders()
    const work = folders.run([copyOf(...words)], {
      base: [fill(folders.folder(), base)],
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    await assert.rejects(work, expected)
  }

  test('a folder where a file comes', () =>
    refused({ 'x/one/': '' }, ['/dir', '/x'], /^BerthError: cannot replace to directory \/x\/one with file$/))

  test('a file where a folder comes', () =>
    refused({ 'x/sub': '' }, ['/dir', '/x'], /^BerthError: cannot copy to non-directory: \/x\/sub$/))

  test('a file on the way', () => refused({ x: '' }, ['/a.txt', '/x/y'], /mkdir \/x: not a directory/))

  test('gives way where it is to', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), { 'x/one/deep': '', 'x/sub': 'file', 'x/kept': '' })
    const outcome = await folders.run([copyOf('/dir', '/x', { replace: true })], {
      base: [base],
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    assert.deepEqual(outcome.tree(), [
      'x 40755 0:0',
      'x/kept 100644 0:0 ',
      'x/one 100644 0:0 1',
      'x/sub 40755 0:0',
      'x/sub/three.md 100644 0:0 3',
      'x/sub/two 100644 0:0 2',
    ])
  })
})

describe('what is not there', () => {
  const rejects = async (words: Parameters<typeof copyOf>, message: string): Promise<void> => {
    await using folders = openFolders()
    const work = folders.run([copyOf(...words)], {
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }], ref: 'abc' }],
    })
    await assert.rejects(work, error => hasCode(error, 'not-found') && (error as Error).message === message)
  }

  test('a source', () =>
    rejects(['/nosuch', '/x'], 'failed to calculate checksum of ref abc: "/nosuch": not found'))

  test('a pattern that must match', () => rejects(['/no*', '/x', { allowEmpty: false }], '/no* not found'))

  test('the folder of a pattern', () =>
    rejects(['/nosuch/*', '/x'], 'lstat /nosuch: no such file or directory'))

  test('the destination, where it is not to be made', () =>
    rejects(
      ['/a.txt', '/x/y', { createDestination: false }],
      'failed to stat /x/y: lstat /x: no such file or directory',
    ))

  test('one that --parents names', () =>
    rejects(
      ['/dir', '/x/', { keepParents: true, include: ['nosuch'], allowEmpty: false }],
      'failed to calculate checksum of ref abc: "/dir/nosuch": not found',
    ))
})

describe('patterns', () => {
  const copied = async (more: Parameters<typeof copyOf>[2], source = '/'): Promise<string[]> => {
    await using folders = openFolders()
    const outcome = await folders.run([copyOf(source, '/', more)], {
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
    })
    return names(outcome.tree())
  }

  test('include brings the folders on the way', async () => {
    assert.deepEqual(await copied({ include: ['dir/sub/*.md'] }), ['dir', 'dir/sub', 'dir/sub/three.md'])
    assert.deepEqual(await copied({ include: ['**/two'] }), ['dir', 'dir/sub', 'dir/sub/two'])
    assert.deepEqual(await copied({ include: ['dir/sub'] }), [
      'dir',
      'dir/sub',
      'dir/sub/three.md',
      'dir/sub/two',
    ])
    assert.deepEqual(await copied({ include: ['nosuch'] }), [])
  })

  test('exclude leaves out, but for its exceptions', async () => {
    assert.deepEqual(await copied({ exclude: ['dir', '*.txt'] }), ['other', 'other/four'])
    assert.deepEqual(await copied({ exclude: ['dir', '!dir/sub/two', '*.txt', 'other'] }), [
      'dir',
      'dir/sub',
      'dir/sub/two',
    ])
    assert.deepEqual(await copied({ exclude: ['**/*.md', 'one'] }, '/dir'), ['sub', 'sub/two'])
  })

  test('--parents with a pivot makes what is behind it', async () => {
    assert.deepEqual(await copied({ keepParents: true, include: ['sub/two'], allowEmpty: false }, '/dir'), [
      'sub',
      'sub/two',
    ])
  })

  test('a pattern that is none is told', async () => {
    await assert.rejects(copied({ exclude: ['[a'] }), /invalid excludepatterns: \[\[a\]/)
  })
})

describe('metadata', () => {
  test('owner, mode, times and attributes are the source’s', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'd/f': 'x' })
    chownSync(join(source, 'd'), 3, 4)
    chmodSync(join(source, 'd'), 0o2711)
    chownSync(join(source, 'd/f'), 1, 2)
    chmodSync(join(source, 'd/f'), 0o4751)
    setXattr(join(source, 'd/f'), 'user.colour', Buffer.from('blue'))
    setXattr(
      join(source, 'd/f'),
      'security.capability',
      Buffer.from('0100000200040000000000000000000000000000', 'hex'),
    )
    symlinkSync('f', join(source, 'd/l'))
    lchownSync(join(source, 'd/l'), 9, 9)
    execFileSync('touch', [
      '-h',
      '-d',
      '2001-02-03 04:05:06.123456789Z',
      ...['d/f', 'd/l', 'd'].map(path => join(source, path)),
    ])
    const outcome = await folders.run([copyOf('/', '/x')], { inputs: [{ layers: [{ path: source }] }] })
    assert.deepEqual(outcome.tree(), [
      'x 40755 0:0',
      'x/d 42711 3:4',
      'x/d/f 104751 1:2 x',
      'x/d/l 120777 9:9 -> f',
    ])
    for (const path of ['x/d', 'x/d/f', 'x/d/l'])
      assert.equal(
        lstatSync(join(outcome.path, path), { bigint: true }).mtimeNs,
        981_173_106_123_456_789n,
        path,
      )
    assert.equal(getXattr(join(outcome.path, 'x/d/f'), 'user.colour')?.toString(), 'blue')
    assert.equal(getXattr(join(outcome.path, 'x/d/f'), 'security.capability')?.length, 20)
  })

  test('an owner by number, by name, and of a name that nobody knows', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), {
      'etc/passwd': 'root:x:0:0::/:/bin/sh\n# a remark\nann:x:1000:1001::/home/ann:/bin/sh\n',
      'etc/group': 'root:x:0:\nstaff:x:50:ann\n',
    })
    const owned = async (user?: string, group?: string): Promise<string> => {
      const owner = { ...(user ? { user } : {}), ...(group ? { group } : {}), names: 'base' as const }
      const outcome = await folders.run([copyOf('/a.txt', '/n/x', { owner })], {
        base: [base],
        inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }],
      })
      const [folder, file] = ['n', 'n/x'].map(path => {
        const { uid, gid } = statSync(join(outcome.path, path))
        return `${uid}:${gid}`
      })
      assert.equal(folder, file, 'a folder that is made has the owner, too')
      return file ?? ''
    }
    assert.equal(await owned('7'), '7:7')
    assert.equal(await owned('7', '8'), '7:8')
    assert.equal(await owned('ann'), '1000:1001')
    assert.equal(await owned('ann', 'staff'), '1000:50')
    assert.equal(await owned(undefined, 'staff'), '0:50')
    assert.equal(await owned('nobody-knows', 'nor-this'), '0:0')
  })

  test('names of an input, through a link that stays within it', async () => {
    await using folders = openFolders()
    const image = fill(folders.folder(), { 'etc/': '', 'real/passwd': 'ann:x:9:9::/:/bin/sh\n' })
    symlinkSync('/real/passwd', join(image, 'etc/passwd'))
    const outcome = await folders.run([copyOf('/a.txt', '/x', { owner: { user: 'ann', names: 1 } })], {
      inputs: [{ layers: [{ path: fill(folders.folder(), context) }] }, { layers: [{ path: image }] }],
    })
    assert.equal(statSync(join(outcome.path, 'x')).uid, 9)
  })

  test('modes, in numbers and in letters', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'd/f': '', 'd/x': '' })
    chmodSync(join(source, 'd/x'), 0o777)
    const moded = async (mode: string): Promise<string[]> => {
      const outcome = await folders.run([copyOf('/d', '/new/d', { mode })], {
        inputs: [{ layers: [{ path: source }] }],
      })
      return outcome.tree().map(text => text.split(' ')[1] ?? '')
    }
    assert.deepEqual(await moded('644'), ['40644', '40644', '100644', '100644'])
    assert.deepEqual(await moded('4711'), ['40711', '40711', '104711', '104711'])
    assert.deepEqual(await moded('u=rwX,go=rX'), ['40755', '40755', '100644', '100755'])
    assert.deepEqual(await moded('go-rwx,u+s'), ['40755', '40755', '104600', '104700'])
    assert.deepEqual(await moded('g=u,o='), ['40755', '40755', '100660', '100770'])
  })
})

describe('kinds of files', () => {
  test('hard links within what is copied stay so', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'd/a': 'x', out: 'y' })
    linkSync(join(source, 'd/a'), join(source, 'd/b'))
    linkSync(join(source, 'out'), join(source, 'd/c'))
    const outcome = await folders.run([copyOf('/d', '/x'), copyOf('/d', '/y')], {
      inputs: [{ layers: [{ path: source }] }],
    })
    const inode = (path: string): number => statSync(join(outcome.path, path)).ino
    assert.equal(inode('x/a'), inode('x/b'))
    assert.notEqual(inode('x/a'), inode('y/a'))
    assert.notEqual(inode('x/a'), statSync(join(source, 'd/a')).ino)
    assert.equal(statSync(join(outcome.path, 'x/c')).nlink, 1)
  })

  test('devices and pipes are made again; a socket is an empty file; a device 0:0 is refused', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'd/': '' })
    const at = (name: string) => ({ dir: AT_FDCWD, name: join(source, 'd', name) })
    makeNodeAt(at('null'), S_IFCHR | 0o666, deviceNumber(1, 3))
    chmodSync(join(source, 'd/null'), 0o666)
    makeNodeAt(at('pipe'), S_IFIFO | 0o640)
    const server = createServer().listen(join(source, 'd/socket'))
    await new Promise(resolve => server.on('listening', resolve))
    const outcome = await folders.run([copyOf('/d', '/x')], { inputs: [{ layers: [{ path: source }] }] })
    server.close()
    const stat = lstatSync(join(outcome.path, 'x/null'))
    assert.deepEqual([stat.isCharacterDevice(), stat.rdev, stat.mode & 0o777], [true, 0x103, 0o666])
    assert.ok(lstatSync(join(outcome.path, 'x/pipe')).isFIFO())
    assert.deepEqual(
      [lstatSync(join(outcome.path, 'x/socket')).isFile(), lstatSync(join(outcome.path, 'x/socket')).size],
      [true, 0],
    )
  })

  test('a link is followed where it is the source, and within the source only', async () => {
    await using folders = openFolders()
    const source = fill(folders.folder(), { 'real/f': 'f' })
    symlinkSync('/real', join(source, 'link'))
    symlinkSync('../../../../etc', join(source, 'out'))
    const inputs = [{ layers: [{ path: source }] }]
    const followed = await folders.run([copyOf('/link', '/x')], { inputs })
    assert.deepEqual(names(followed.tree()), ['x', 'x/f'])
    const kept = await folders.run([copyOf('/link', '/x', { followLinks: false })], { inputs })
    assert.deepEqual(kept.tree(), ['x 120777 0:0 -> /real'])
    await assert.rejects(folders.run([copyOf('/out/passwd', '/x')], { inputs }), /"\/out\/passwd": not found/)
    await assert.rejects(folders.run([copyOf('/out', '/x')], { inputs }), /not found/)
  })

  test('names that are no UTF-8 come as they are', async () => {
    await using folders = openFolders()
    const source = folders.folder()
    writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0xff, 0x41])]), 'x')
    const outcome = await folders.run([copyOf('/', '/')], { inputs: [{ layers: [{ path: source }] }] })
    assert.ok(existsSync(Buffer.concat([Buffer.from(`${outcome.path}/`), Buffer.from([0xff, 0x41])])))
  })
})

describe('hostile trees lead nowhere', () => {
  test('a link at the destination does not carry files out', async () => {
    await using folders = openFolders()
    const outside = folders.folder()
    const base = folders.folder()
    symlinkSync(outside, join(base, 'dir'))
    symlinkSync(join(outside, 'file'), join(base, 'one'))
    const source = fill(folders.folder(), { 'dir/f': 'x', one: 'x' })
    const inputs = [{ layers: [{ path: source }] }]
    await assert.rejects(
      folders.run([copyOf('/', '/')], { base: [base], inputs }),
      /cannot copy to non-directory: \/dir/,
    )
    const outcome = await folders.run([copyOf('/one', '/'), copyOf('/one', '/dir/x')], {
      base: [base],
      inputs,
    })
    assert.equal(readFileSync(join(outcome.path, 'one'), 'utf8'), 'x')
    assert.equal(lstatSync(join(outcome.path, 'one')).isFile(), true)
    assert.deepEqual(
      names(outcome.tree()).includes(join(outside, 'x').slice(1)),
      true,
      'the link is followed within',
    )
    assert.deepEqual([existsSync(join(outside, 'x')), existsSync(join(outside, 'file'))], [false, false])
  })

  test('links that go round are told', async () => {
    await using folders = openFolders()
    const source = folders.folder()
    symlinkSync('b', join(source, 'a'))
    symlinkSync('a', join(source, 'b'))
    await assert.rejects(
      folders.run([copyOf('/a', '/x')], { inputs: [{ layers: [{ path: source }] }] }),
      /cannot resolve \/a: too many links/,
    )
  })

  test('a tree that the base turns into links while it is filled', async () => {
    await using folders = openFolders()
    const outside = folders.folder()
    const source = folders.folder()
    symlinkSync(outside, join(source, 'x'))
    const second = fill(folders.folder(), { 'x/f': 'x' })
    await assert.rejects(
      folders.run([copyOf('/', '/'), copyOf('/', '/', { from: 1 })], {
        inputs: [{ layers: [{ path: source }] }, { layers: [{ path: second }] }],
      }),
      /cannot copy to non-directory/,
    )
    assert.equal(existsSync(join(outside, 'f')), false)
  })
})

describe('layers', () => {
  test('whiteouts and opaque folders of the source are seen', async () => {
    await using folders = openFolders()
    const lower = fill(folders.folder(), { 'd/gone': '', 'd/kept': 'k', 'e/hidden': '' })
    const upper = fill(folders.folder(), { 'd/': '', 'e/new': 'n' })
    makeNodeAt({ dir: AT_FDCWD, name: join(upper, 'd/gone') }, S_IFCHR)
    setXattr(join(upper, 'e'), 'trusted.overlay.opaque', Buffer.from('y'))
    const outcome = await folders.run([copyOf('/', '/')], {
      inputs: [{ layers: [{ path: lower }, { path: upper }] }],
    })
    assert.deepEqual(names(outcome.tree()), ['d', 'd/kept', 'e', 'e/new'])
    assert.equal(getXattr(join(outcome.path, 'e'), 'trusted.overlay.opaque'), undefined)
  })

  test('what was removed and made again shows nothing of the layers', async () => {
    await using folders = openFolders()
    const base = fill(folders.folder(), { 'd/old/deep': 'x', 'd/kept': '', f: 'file' })
    const outcome = await folders.run(
      [
        { kind: 'remove', path: '/d', allowMissing: false, wildcards: false },
        { kind: 'makeDirectory', path: '/d/old', mode: 0o755, parents: true },
        { kind: 'remove', path: '/f', allowMissing: false, wildcards: false },
        { kind: 'makeFile', path: '/f', content: 'new', mode: 0o600 },
      ],
      { base: [base] },
    )
    assert.deepEqual(outcome.tree(), ['d 40755 0:0', 'd/old 40755 0:0', 'f 100600 0:0 new'])
  })
})

test('an abort ends it', async () => {
  await using folders = openFolders()
  const source = folders.folder()
  for (let count = 0; count < 500; count++) writeFileSync(join(source, `f${count}`), '')
  const signal = AbortSignal.abort()
  await assert.rejects(
    folders.run([copyOf('/', '/')], { inputs: [{ layers: [{ path: source }] }], signal }),
    error => hasCode(error, 'cancelled') || (error as Error).name === 'AbortError',
  )
  utimesSync(source, 1, 1)
})
