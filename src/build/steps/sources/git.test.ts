import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { hasCode } from '../../../core/errors.ts'
import { type Folders, fill, openFolders } from '../testing/folders.ts'
import { checkOut, findCommit, type GitFetch, type GitOperation, gitKey } from './git.ts'

const call = (folder: string, ...args: string[]): string =>
  execFileSync('git', ['-C', folder, '-c', 'user.name=x', '-c', 'user.email=x@x', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
  }).trim()

interface Repository {
  folder: string
  first: string
  second: string
}

/** `main` with two commits, a branch, and two tags on the first. */
const repository = (folders: Folders): Repository => {
  const folder = fill(folders.folder(), { a: 'one', 'dir/b': 'b', 'dir/sub/c': 'c' })
  symlinkSync('/etc', join(folder, 'out'))
  call(folder, 'init', '-q', '-b', 'main')
  call(folder, 'add', '.')
  call(folder, 'commit', '-q', '-m', 'one')
  const first = call(folder, 'rev-parse', 'HEAD')
  call(folder, 'tag', 'plain')
  call(folder, 'tag', '-a', '-m', 'tag', 'annotated')
  call(folder, 'branch', 'old')
  writeFileSync(join(folder, 'a'), 'two')
  call(folder, 'commit', '-q', '-a', '-m', 'two')
  return { folder, first, second: call(folder, 'rev-parse', 'HEAD') }
}

const operationOf = (remote: string, more: Partial<GitOperation> = {}): GitOperation => ({
  kind: 'git',
  remote,
  ref: '',
  subdirectory: '',
  keepGitDirectory: false,
  submodules: true,
  ...more,
})

const fetchOf = (more: Partial<GitFetch> = {}): GitFetch => ({
  signal: new AbortController().signal,
  secret: async () => undefined,
  ...more,
})

/** The folder of a checkout. */
const checkedOut = async (folders: Folders, operation: GitOperation): Promise<string> => {
  const [root, work] = [folders.folder(), folders.folder()]
  await checkOut(operation, await findCommit(operation, fetchOf()), { ...fetchOf(), root, work })
  assert.deepEqual(readdirSync(work), [])
  return root
}

test('the default branch, a branch, tags and commits', async () => {
  await using folders = openFolders()
  const { folder, first, second } = repository(folders)
  const found = async (ref: string) => await findCommit(operationOf(`file://${folder}`, { ref }), fetchOf())
  assert.deepEqual(await found(''), { commit: second, ref: 'refs/heads/main' })
  assert.deepEqual(await found('old'), { commit: first, ref: 'refs/heads/old' })
  assert.deepEqual(await found('refs/heads/old'), { commit: first, ref: 'refs/heads/old' })
  assert.deepEqual(await found('plain'), { commit: first, ref: 'refs/tags/plain' })
  const annotated = await found('annotated')
  assert.deepEqual([annotated.tagged, annotated.ref], [first, 'refs/tags/annotated'])
  assert.deepEqual(await found(first), { commit: first, ref: first })
  for (const ref of ['', 'old', 'plain', 'annotated', first]) {
    const root = await checkedOut(folders, operationOf(`file://${folder}`, { ref }))
    assert.equal(readFileSync(join(root, 'a'), 'utf8'), ref === '' ? 'two' : 'one', ref)
    assert.deepEqual(readdirSync(root).sort(), ['a', 'dir', 'out'])
  }
})

test('what is not there, and what is no reference', async () => {
  await using folders = openFolders()
  const { folder } = repository(folders)
  const find = (remote: string, ref: string) => findCommit(operationOf(remote, { ref }), fetchOf())
  await assert.rejects(find(`file://${folder}`, 'nosuch'), /does not contain ref nosuch/)
  await assert.rejects(find(`file://${folder}`, '--upload-pack=x'), /invalid git ref/)
  await assert.rejects(
    find('file:///nosuch', 'x'),
    error => hasCode(error, 'git-failed') && /failed to fetch remote/.test(String(error)),
  )
  const gone = operationOf(`file://${folder}`, { ref: '0'.repeat(40) })
  await assert.rejects(checkedOut(folders, gone), /failed to fetch remote|can not be found/)
})

test('a checksum is held', async () => {
  await using folders = openFolders()
  const { folder, first, second } = repository(folders)
  const find = (ref: string, checksum: string) =>
    findCommit(operationOf(`file://${folder}`, { ref, checksum }), fetchOf())
  await find('main', second.slice(0, 8))
  await find('annotated', first)
  await assert.rejects(
    find('main', first),
    error => hasCode(error, 'digest-mismatch') && /expected checksum to match/.test(String(error)),
  )
  await assert.rejects(find(first, second), /expected checksum to match/)
})

test('a folder of it, which no link may stand for', async () => {
  await using folders = openFolders()
  const { folder } = repository(folders)
  const of = (subdirectory: string) => checkedOut(folders, operationOf(`file://${folder}`, { subdirectory }))
  assert.deepEqual(readdirSync(await of('dir')).sort(), ['b', 'sub'])
  assert.deepEqual(readdirSync(await of('dir/sub')), ['c'])
  await assert.rejects(of('out'), /invalid subdir out: out is not a directory/)
  await assert.rejects(of('nosuch'), /invalid subdir nosuch: no such directory/)
  await assert.rejects(of('dir/../..'), /invalid subdir/)
})

test('with its .git, which knows the commit and nothing of this host', async () => {
  await using folders = openFolders()
  const { folder, first } = repository(folders)
  for (const ref of ['old', 'plain', first]) {
    const root = await checkedOut(folders, operationOf(`file://${folder}`, { ref, keepGitDirectory: true }))
    assert.equal(call(root, 'rev-parse', 'HEAD'), first)
    assert.equal(call(root, 'status', '--porcelain'), '')
    assert.equal(call(root, 'remote', 'get-url', 'origin'), `file://${folder}`)
    assert.equal(existsSync(join(root, '.git/FETCH_HEAD')), false)
    assert.equal(existsSync(join(root, '.git/hooks')), false)
  }
})

test('submodules of this host’s files are refused, and left out where none are wanted', async () => {
  await using folders = openFolders()
  const inner = repository(folders)
  const outer = fill(folders.folder(), { x: 'x' })
  call(outer, 'init', '-q', '-b', 'main')
  call(
    outer,
    '-c',
    'protocol.file.allow=always',
    'submodule',
    '--quiet',
    'add',
    `file://${inner.folder}`,
    'inner',
  )
  call(outer, 'add', '.')
  call(outer, 'commit', '-q', '-m', 'outer')
  await assert.rejects(checkedOut(folders, operationOf(`file://${outer}`)), /failed to update submodules/)
  const root = await checkedOut(folders, operationOf(`file://${outer}`, { submodules: false }))
  assert.deepEqual(readdirSync(join(root, 'inner')), [])
})

test('hooks and settings of a repository run nothing', async () => {
  await using folders = openFolders()
  const { folder } = repository(folders)
  const marker = join(folders.root, 'ran')
  mkdirSync(join(folder, '.git/hooks'), { recursive: true })
  for (const hook of ['post-checkout', 'post-update'])
    writeFileSync(join(folder, '.git/hooks', hook), `#!/bin/sh\ntouch ${marker}\n`, { mode: 0o755 })
  await checkedOut(folders, operationOf(`file://${folder}`, { keepGitDirectory: true }))
  assert.equal(existsSync(marker), false)
})

test('secrets are sent to the server, and shown to nobody', async () => {
  const seen: (string | undefined)[] = []
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization)
    response.writeHead(404).end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const attempt = async (secrets: Record<string, string>): Promise<void> => {
    const operation = operationOf(`http://${host}/x.git`, {
      ref: 'main',
      authToken: 'TOKEN',
      authHeader: 'HEADER',
    })
    const output: Buffer[] = []
    const fetch = fetchOf({
      secret: async name => secrets[name],
      output: bytes => output.push(Buffer.from(bytes)),
    })
    await assert.rejects(findCommit(operation, fetch), error => !String(error).includes('hidden'))
    assert.equal(Buffer.concat(output).includes('hidden'), false)
  }
  await attempt({ TOKEN: 'hidden' })
  await attempt({ TOKEN: 'hidden', HEADER: 'bearer hidden' })
  await attempt({ HEADER: 'bearer hidden', [`TOKEN.${host}`]: 'other-hidden' })
  await attempt({})
  await new Promise(resolve => server.close(resolve))
  const basic = (text: string): string => `basic ${Buffer.from(`x-access-token:${text}`).toString('base64')}`
  assert.deepEqual(seen, [basic('hidden'), 'bearer hidden', basic('other-hidden'), undefined])
})

test('an abort ends git and its helpers', async () => {
  const server = createServer(() => stop.abort(new Error('enough')))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const stop = new AbortController()
  const { port } = server.address() as AddressInfo
  const ended = new Promise(resolve => server.on('connection', socket => socket.on('close', resolve)))
  const operation = operationOf(`http://127.0.0.1:${port}/x.git`, { ref: 'main' })
  await assert.rejects(findCommit(operation, fetchOf({ signal: stop.signal })), /enough/)
  await ended
  await new Promise(resolve => server.close(resolve))
})

test('modes are the same whatever mask this process has', async () => {
  await using folders = openFolders()
  const { folder } = repository(folders)
  const mask = process.umask(0o077)
  try {
    const root = await checkedOut(folders, operationOf(`file://${folder}`))
    assert.deepEqual(
      ['a', 'dir'].map(path => statSync(join(root, path)).mode & 0o777),
      [0o644, 0o755],
    )
  } finally {
    process.umask(mask)
  }
})

test('a host without git is told', async () => {
  const before = process.env['PATH']
  process.env['PATH'] = '/nosuch'
  try {
    await assert.rejects(findCommit(operationOf('https://host/x.git', { ref: 'x' }), fetchOf()), error =>
      hasCode(error, 'git-missing'),
    )
  } finally {
    process.env['PATH'] = before
  }
})

test('keys: the files alone, with .git also where they come from', () => {
  const operation = operationOf('https://host/x.git')
  const commit = { commit: 'a'.repeat(40), ref: 'refs/heads/main' }
  assert.equal(gitKey(operation, commit), gitKey({ ...operation, remote: 'https://other/x.git' }, commit))
  assert.notEqual(gitKey(operation, commit), gitKey({ ...operation, subdirectory: 'x' }, commit))
  assert.notEqual(gitKey(operation, commit), gitKey(operation, { ...commit, commit: 'b'.repeat(40) }))
  const kept = { ...operation, keepGitDirectory: true }
  assert.notEqual(gitKey(kept, commit), gitKey(kept, { ...commit, ref: 'refs/heads/other' }))
})
