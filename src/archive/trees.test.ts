import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { hasCode } from '../core/errors.ts'
import { readArchive } from './archives.ts'
import { WorkerPool } from './pool.ts'
import { readTar } from './reader.ts'
import { extractTree, packTree } from './trees.ts'
import { tarEntry, writeTar } from './writer.ts'

const pool = new WorkerPool(2)
after(() => pool[Symbol.asyncDispose]())

const temporary = (): { path: string } & Disposable => {
  const path = mkdtempSync('/tmp/berth-trees-')
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

type Known = Parameters<typeof tarEntry>[0]

const tarOf = (...entries: (Known & { content?: string })[]): AsyncGenerator<Uint8Array> =>
  writeTar(
    entries.map(({ content = '', ...known }) => ({
      entry: tarEntry({ ...known, size: Buffer.byteLength(content) }),
      body: [Buffer.from(content)],
    })),
  )

const namesIn = async (archive: AsyncIterable<Uint8Array>): Promise<string[]> => {
  const names: string[] = []
  for await (const { entry } of readTar(archive)) names.push(`${entry.type} ${entry.name}`)
  return names
}

test('unpacks into a directory that is reached by a symlink inside the root', async () => {
  using at = temporary()
  mkdirSync(join(at.path, 'real'))
  symlinkSync('/real', join(at.path, 'link'))
  await extractTree(pool, { root: at.path, path: '/link', source: tarOf({ name: 'a/b', content: 'x' }) })
  assert.equal(readFileSync(join(at.path, 'real/a/b'), 'utf8'), 'x')
})

test('a symlink in the tree cannot lead out, for the path or for an entry', async () => {
  using at = temporary()
  using outside = temporary()
  mkdirSync(join(at.path, 'root'))
  const root = join(at.path, 'root')
  symlinkSync(outside.path, join(root, 'out'))
  symlinkSync('../../../../../..', join(root, 'up'))
  await assert.rejects(extractTree(pool, { root, path: 'out', source: tarOf({ name: 'a' }) }), error =>
    hasCode(error, 'not-found'),
  )
  await extractTree(pool, {
    root,
    path: '/',
    source: tarOf({ name: 'out/a', content: '1' }, { name: 'up/b', content: '2' }),
  })
  assert.deepEqual(readdirSync(outside.path), [])
  assert.equal(readFileSync(join(root, outside.path, 'a'), 'utf8'), '1')
  assert.equal(readFileSync(join(root, 'b'), 'utf8'), '2')
})

test('magic links of /proc are not followed', async () => {
  await assert.rejects(
    extractTree(pool, { root: '/proc', path: 'self/cwd', source: tarOf({ name: 'x' }) }),
    error => error instanceof Error && /ELOOP/.test(error.message),
  )
})

test('owners: kept, or all given to one', async () => {
  using at = temporary()
  const entries: Known[] = [
    { name: 'd', type: 'directory', uid: 5, gid: 6 },
    { name: 'd/f', uid: 7, gid: 8, mode: 0o4711 },
  ]
  await extractTree(pool, { root: at.path, path: '', source: tarOf(...entries) })
  const stat = statSync(join(at.path, 'd/f'))
  assert.deepEqual(
    [stat.uid, stat.gid, stat.mode & 0o7777, statSync(join(at.path, 'd')).uid],
    [7, 8, 0o4711, 5],
  )
  await extractTree(pool, { root: at.path, path: '', owner: { uid: 9, gid: 10 }, source: tarOf(...entries) })
  assert.deepEqual([statSync(join(at.path, 'd/f')).uid, statSync(join(at.path, 'd')).gid], [9, 10])
})

test('without noOverwriteDirNonDir kinds are replaced, with it they are refused', async () => {
  using at = temporary()
  mkdirSync(join(at.path, 'd/sub'), { recursive: true })
  writeFileSync(join(at.path, 'd/sub/x'), '')
  writeFileSync(join(at.path, 'f'), 'old')
  const into = (noOverwriteDirNonDir: boolean, ...entries: Known[]): Promise<void> =>
    extractTree(pool, { root: at.path, path: '', source: tarOf(...entries), noOverwriteDirNonDir })
  await assert.rejects(into(true, { name: 'd' }), /cannot overwrite directory "d" with non-directory/)
  await assert.rejects(
    into(true, { name: 'f', type: 'directory' }),
    /cannot overwrite non-directory "f" with directory/,
  )
  assert.ok(existsSync(join(at.path, 'd/sub/x')))
  await into(false, { name: 'd' }, { name: 'f', type: 'directory' }, { name: 'f/y' })
  assert.ok(statSync(join(at.path, 'd')).isFile())
  assert.deepEqual(readdirSync(join(at.path, 'f')), ['y'])
})

test('whiteout names are plain names outside of layers', async () => {
  using at = temporary()
  await extractTree(pool, { root: at.path, path: '', source: tarOf({ name: '.wh.x', content: 'kept' }) })
  assert.equal(readFileSync(join(at.path, '.wh.x'), 'utf8'), 'kept')
})

test("the root's own metadata stays as it is", async () => {
  using at = temporary()
  const before = statSync(at.path).mode
  await extractTree(pool, {
    root: at.path,
    path: '',
    source: tarOf({ name: './', type: 'directory', mode: 0o777, uid: 3 }),
  })
  assert.deepEqual([statSync(at.path).mode, statSync(at.path).uid], [before, 0])
})

test('a source that fails ends the work with its error; a bad archive ends the source', async () => {
  using at = temporary()
  const failing = (async function* () {
    yield Buffer.alloc(512, 1).fill(0, 0, 0)
    throw new Error('the client went away')
  })()
  await assert.rejects(extractTree(pool, { root: at.path, path: '', source: failing }))
  let ended = false
  const endless = (async function* () {
    try {
      for (;;) yield Buffer.alloc(65536, 'no tar ')
    } finally {
      ended = true
    }
  })()
  await assert.rejects(extractTree(pool, { root: at.path, path: '', source: endless }), /tar header/)
  assert.ok(await waitFor(() => ended))
})

const waitFor = async (condition: () => boolean): Promise<boolean> => {
  for (let turn = 0; turn < 1000 && !condition(); turn++) await new Promise(resolve => setTimeout(resolve, 1))
  return condition()
}

test('packs a tree with hard links, symlinks and devices, and without sockets', async () => {
  using at = temporary()
  mkdirSync(join(at.path, 'etc/sub'), { recursive: true })
  writeFileSync(join(at.path, 'etc/a'), 'a')
  linkSync(join(at.path, 'etc/a'), join(at.path, 'etc/sub/b'))
  symlinkSync('/nowhere', join(at.path, 'etc/s'))
  execFileSync('mkfifo', [join(at.path, 'etc/p')])
  const server = createServer().listen(join(at.path, 'etc/socket'))
  await new Promise(resolve => server.once('listening', resolve))
  try {
    assert.deepEqual(await namesIn(packTree(pool, { root: at.path, path: '/etc' })), [
      'directory etc',
      'file etc/a',
      'fifo etc/p',
      'symlink etc/s',
      'directory etc/sub',
      'link etc/sub/b',
    ])
    assert.deepEqual(await namesIn(packTree(pool, { root: at.path, path: 'etc/sub', as: 'new' })), [
      'directory new',
      'file new/b',
    ])
    assert.deepEqual(await namesIn(packTree(pool, { root: at.path, path: '', as: '' })), [
      'directory etc',
      'file etc/a',
      'fifo etc/p',
      'symlink etc/s',
      'directory etc/sub',
      'link etc/sub/b',
    ])
    assert.deepEqual(await namesIn(packTree(pool, { root: at.path, path: 'etc/s' })), ['symlink s'])
  } finally {
    server.close()
  }
  await assert.rejects(namesIn(packTree(pool, { root: at.path, path: 'none' })), error =>
    hasCode(error, 'not-found'),
  )
})

test('packing through a symlink stays inside', async () => {
  using at = temporary()
  mkdirSync(join(at.path, 'etc'))
  writeFileSync(join(at.path, 'etc/hostname'), 'inside')
  symlinkSync('/etc', join(at.path, 'e'))
  for await (const { body } of readTar(packTree(pool, { root: at.path, path: 'e/hostname' })))
    assert.equal(Buffer.concat(await Array.fromAsync(body)).toString(), 'inside')
})

test('what is packed unpacks to the same tree, as GNU tar sees it', async () => {
  using at = temporary()
  const from = join(at.path, 'from')
  const [to, gnu] = [join(at.path, 'to'), join(at.path, 'gnu')]
  for (const path of [from, to, gnu]) mkdirSync(path)
  for (let n = 0; n < 300; n++) {
    mkdirSync(join(from, `d${n % 17}`), { recursive: true })
    writeFileSync(join(from, `d${n % 17}`, `ü${n}`), Buffer.alloc((n * 977) % 9000, n))
  }
  writeFileSync(join(from, 'big'), Buffer.alloc(5 << 20, 'big'))
  await extractTree(pool, { root: to, path: '', source: packTree(pool, { root: from, path: '', as: '' }) })
  assert.equal(execFileSync('diff', ['-r', from, to], { encoding: 'utf8' }), '')
  assert.equal(
    lstatSync(join(to, 'big'), { bigint: true }).mtimeNs,
    lstatSync(join(from, 'big'), { bigint: true }).mtimeNs,
  )
  const archive = Buffer.concat(await Array.fromAsync(packTree(pool, { root: from, path: '', as: '' })))
  execFileSync('tar', ['-C', gnu, '-xf', '-'], { input: archive })
  assert.equal(execFileSync('diff', ['-r', from, gnu], { encoding: 'utf8' }), '')
})

test('a reader that stops early, and an abort, end the work', async () => {
  using at = temporary()
  writeFileSync(join(at.path, 'big'), Buffer.alloc(20 << 20))
  for await (const chunk of packTree(pool, { root: at.path, path: '' })) {
    assert.ok(chunk.length > 0)
    break
  }
  const stop = new AbortController()
  const stream = packTree(pool, { root: at.path, path: '', signal: stop.signal })
  await stream.next()
  stop.abort()
  await assert.rejects(Array.fromAsync(stream), error => hasCode(error, 'cancelled'))
})

test('more slow clients than workers do not hold up other work', async () => {
  using at = temporary()
  writeFileSync(join(at.path, 'big'), Buffer.alloc(20 << 20))
  const slow = Array.from({ length: 6 }, () => packTree(pool, { root: at.path, path: '' }))
  for (const stream of slow) await stream.next()
  await extractTree(pool, { root: at.path, path: '', source: tarOf({ name: 'x', content: 'x' }) })
  assert.equal(readFileSync(join(at.path, 'x'), 'utf8'), 'x')
  for (const stream of slow) await stream.return(undefined)
})

test('workers start with work and end when idle', async () => {
  using at = temporary()
  await using own = new WorkerPool(2, 1)
  assert.equal(own.workers, 0)
  await own.run('measure', { directory: at.path })
  assert.ok(await waitFor(() => own.workers === 0))
  assert.equal((await own.run('measure', { directory: at.path })).entries, 0)
})

test('a removed deep tree is gone, however deep', async () => {
  using at = temporary()
  const top = join(at.path, 'deep')
  execFileSync('sh', [
    '-c',
    'mkdir "$1"; cd "$1"; n=0; while [ $n -lt 600 ]; do mkdir d f$n.d; touch f; cd d; n=$((n+1)); done',
    'sh',
    top,
  ])
  await pool.run('remove', { directory: top })
  assert.deepEqual(readdirSync(at.path), [])
})

test('reads a compressed archive in one pass; unread bodies are passed over', async () => {
  const parts: Buffer[] = []
  for await (const part of tarOf(
    { name: 'a', content: 'first' },
    { name: 'b', content: 'x'.repeat(100_000) },
    { name: 'c', content: 'last' },
  ))
    parts.push(Buffer.from(part))
  const seen: string[] = []
  for await (const { entry, body } of readArchive(Readable.from([gzipSync(Buffer.concat(parts))]))) {
    const name = String(entry.name)
    seen.push(name === 'b' ? name : `${name}=${Buffer.concat(await Array.fromAsync(body)).toString()}`)
  }
  assert.deepEqual(seen, ['a=first', 'b', 'c=last'])
})

test('a source is not read ahead of the body that is being read', async () => {
  let given = 0
  const source = (async function* () {
    for await (const part of writeTar([
      {
        entry: tarEntry({ name: 'big', size: 100 * 65536 }),
        body: Array.from({ length: 100 }, () => Buffer.alloc(65536)),
      },
    ])) {
      given++
      yield part
    }
  })()
  for await (const { body } of readTar(source)) {
    let taken = 0
    for await (const chunk of body) {
      taken += chunk.length
      assert.ok(given <= taken / 65536 + 2)
    }
  }
})
