import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { type OutgoingMember, tarEntry, writeTar } from '../src/archive/writer.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { directory, file } from './harness/images.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
let folder = ''
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  folder = mkdtempSync(path.join(daemon.base, 'copy-'))
  mkdirSync(path.join(folder, 'tree/sub'), { recursive: true })
  writeFileSync(path.join(folder, 'tree/a'), 'content of a\n', { mode: 0o640 })
  writeFileSync(path.join(folder, 'tree/sub/b'), 'b'.repeat(3_000_000))
  symlinkSync('sub/b', path.join(folder, 'tree/link'))
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true, force: true })
})

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, args.join(' '))
  return stderr
}

const views = (): string[] => {
  try {
    return readdirSync(path.join(daemon.execRoot, 'views'))
  } catch {
    return []
  }
}

const archive = async (...members: OutgoingMember[]): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of writeTar(members)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The beginning of an answer, of which no more is read. */
const fetchHead = async (url: string): Promise<IncomingMessage> => {
  const req = request({ socketPath: daemon.socket, path: url, headers: { Host: 'docker' } })
  req.end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  return res
}

const put = async (container: string, query: string, members: OutgoingMember[]) => {
  const { status, text } = await daemon.api(
    'PUT',
    `/containers/${container}/archive?${query}`,
    await archive(...members),
  )
  return { status, message: text === '' ? '' : (JSON.parse(text) as { message: string }).message }
}

test('a tree goes into a running container and comes back as it was', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'running',
    '--tmpfs',
    '/scratch',
    '-v',
    `${folder}:/host`,
    'busybox',
    'sleep',
    '1000',
  )
  await docker('cp', `${folder}/tree`, 'running:/tmp/')
  assert.equal(
    await docker(
      'exec',
      'running',
      'sh',
      '-c',
      'cat /tmp/tree/a; readlink /tmp/tree/link; stat -c %a /tmp/tree/a',
    ),
    'content of a\nsub/b\n640',
  )
  await docker('cp', 'running:/tmp/tree', `${folder}/back`)
  assert.equal(readFileSync(`${folder}/back/sub/b`, 'utf8'), 'b'.repeat(3_000_000))
  assert.equal(readlinkSync(`${folder}/back/link`), 'sub/b')
  assert.equal(statSync(`${folder}/back/a`).mode & 0o777, 0o640)
})

test('a running container’s tmpfs and mounts are what its processes see', async () => {
  await docker('cp', `${folder}/tree/a`, 'running:/scratch/a')
  assert.equal(await docker('exec', 'running', 'cat', '/scratch/a'), 'content of a')
  await docker('cp', `${folder}/tree/a`, 'running:/host/through-mount')
  assert.equal(readFileSync(`${folder}/through-mount`, 'utf8'), 'content of a\n')
})

test('the whole root comes out without what the kernel shows in it', async () => {
  // Not into what is mounted there: what comes out would be in what is still to come.
  const root = path.join(daemon.base, 'root-of-running')
  await docker('cp', 'running:/', root)
  assert.ok(statSync(`${root}/bin/busybox`).isFile())
  assert.deepEqual(readdirSync(`${root}/proc`), [])
  assert.ok(statSync(`${root}/host/tree/a`).isFile())
  await until('the view of its files was taken away', () => views().length === 0)
})

test('links of a container lead nowhere but into the container', async () => {
  await docker(
    'exec',
    'running',
    'sh',
    '-c',
    `ln -s / /tmp/root; ln -s ${folder} /tmp/outside; ln -s ../../../../etc /tmp/up`,
  )
  await docker('cp', 'running:/tmp/up/passwd', `${folder}/passwd`)
  assert.match(readFileSync(`${folder}/passwd`, 'utf8'), /a user/)
  assert.match(
    await refused('cp', `running:/tmp/outside/tree/a`, `${folder}/x`),
    /Could not find the file .* in container running/,
  )
  await docker('cp', `${folder}/tree/a`, 'running:/tmp/root/through-link')
  assert.equal(await docker('exec', 'running', 'cat', '/through-link'), 'content of a')
})

test('a stopped container has its mounts too, and is as stopped as before', async () => {
  mkdirSync(`${folder}/volume`)
  await docker(
    'create',
    '--name',
    'stopped',
    '-v',
    `${folder}/volume:/data`,
    '-v',
    `${folder}/tree:/frozen:ro`,
    'busybox',
    'cat',
    '/tmp/a',
  )
  await docker('cp', `${folder}/tree/a`, 'stopped:/data/a')
  assert.equal(readFileSync(`${folder}/volume/a`, 'utf8'), 'content of a\n')
  await docker('cp', 'stopped:/frozen/a', `${folder}/frozen-a`)
  await docker('cp', `${folder}/tree/a`, 'stopped:/tmp/a')
  await until('the view of its files was taken away', () => views().length === 0)
  const id = await docker('inspect', '-f', '{{.Id}}', 'stopped')
  assert.equal(readdirSync(path.join(daemon.execRoot, 'mounts')).includes(id), false)
  assert.equal(await docker('start', '-a', 'stopped'), 'content of a')
})

test('places that are read-only for the container are refused', async () => {
  assert.match(
    await refused('cp', `${folder}/tree/a`, 'stopped:/frozen/x'),
    /mounted volume is marked read-only/,
  )
  await docker('create', '--name', 'sealed', '--read-only', '-v', `${folder}/volume:/data`, 'busybox')
  assert.match(
    await refused('cp', `${folder}/tree/a`, 'sealed:/tmp/x'),
    /container rootfs is marked read-only/,
  )
  await docker('cp', `${folder}/tree/a`, 'sealed:/data/sealed')
})

test('what is not there and what is no directory is told in Docker’s words', async () => {
  const found = await daemon.api('GET', '/containers/running/archive?path=/nope')
  assert.deepEqual(
    [found.status, JSON.parse(found.text)],
    [404, { message: 'Could not find the file /nope in container running' }],
  )
  assert.equal((await daemon.api('HEAD', '/containers/running/archive?path=/nope')).status, 404)
  assert.equal((await daemon.api('GET', '/containers/nobody/archive?path=/')).status, 404)
  const without = await daemon.api('GET', '/containers/running/archive')
  assert.deepEqual(
    [without.status, JSON.parse(without.text)],
    [400, { message: 'bad parameter: path cannot be empty' }],
  )
  assert.deepEqual(await put('running', 'path=/etc/passwd', [file('x', 'y')]), {
    status: 400,
    message: 'extraction point is not a directory',
  })
  assert.equal((await put('running', 'path=/nope', [file('x', 'y')])).status, 404)
})

test('a name is described by the header', async () => {
  await docker('exec', 'running', 'sh', '-c', 'ln -s /etc/../bin /tmp/to-bin; chmod 1777 /tmp')
  const stat = async (name: string) => {
    const { headers } = await daemon.api('HEAD', `/containers/running/archive?path=${name}`)
    return JSON.parse(Buffer.from(String(headers['x-docker-container-path-stat']), 'base64').toString())
  }
  const link = await stat('/tmp/to-bin')
  assert.deepEqual([link.name, link.mode, link.linkTarget], ['to-bin', 2 ** 27 + 0o777, '/bin'])
  const target = await stat('/tmp/to-bin/')
  assert.deepEqual([target.name, target.mode, target.linkTarget], ['to-bin', 2 ** 31 + 0o755, ''])
  assert.equal((await stat('/tmp')).mode, 2 ** 31 + 2 ** 20 + 0o777)
  assert.equal((await stat('/etc/passwd')).size, 113)
})

test('a directory is not replaced by a file, nor a file by a directory, where that was forbidden', async () => {
  const flag = 'path=/tmp&noOverwriteDirNonDir=1'
  await docker('exec', 'running', 'sh', '-c', 'mkdir -p /tmp/d/inside; echo x > /tmp/f')
  const overDirectory = await put('running', flag, [file('d', 'file')])
  assert.match(overDirectory.message, /cannot overwrite directory "\/tmp\/d" with non-directory/)
  const overFile = await put('running', flag, [directory('f')])
  assert.match(overFile.message, /cannot overwrite non-directory "\/tmp\/f" with directory/)
  assert.equal((await put('running', 'path=/tmp', [file('d', 'file')])).status, 200)
  assert.equal(await docker('exec', 'running', 'cat', '/tmp/d'), 'file')
})

test('owners are the archive’s, or the container’s user where that was asked for', async () => {
  await docker('run', '-d', '--name', 'asUser', '--user', 'user', 'busybox', 'sleep', '1000')
  const owned: OutgoingMember = {
    entry: tarEntry({ name: 'o', uid: 5, gid: 6, size: 1 }),
    body: [Buffer.from('x')],
  }
  await put('asUser', 'path=/tmp', [owned])
  assert.equal(await docker('exec', 'asUser', 'stat', '-c', '%u:%g', '/tmp/o'), '5:6')
  await put('asUser', 'path=/tmp&copyUIDGID=1', [owned])
  assert.equal(await docker('exec', 'asUser', 'stat', '-c', '%u:%g', '/tmp/o'), '1000:1000')
})

test('an archive that climbs out is refused, and nothing of it is outside', async () => {
  const { status } = await put('running', 'path=/tmp', [file('../../climbed', 'x')])
  assert.equal(status, 400)
  assert.equal((await daemon.docker(['exec', 'running', 'test', '-e', '/climbed'])).code, 1)
})

test('a view that a crash left is taken away at the next start', async () => {
  await daemon.kill()
  await daemon.start({ env: { BERTH_FAILPOINTS: 'view.mounted=kill' } })
  await assert.rejects(daemon.api('HEAD', '/containers/stopped/archive?path=/bin/busybox'))
  await daemon.exited()
  assert.equal(views().length, 1)
  await daemon.start()
  await until('the view of its files was taken away', () => views().length === 0)
  assert.equal(await docker('start', '-a', 'stopped'), 'content of a')
})

test('a client that leaves half-way leaves no view behind, and the container can be started', async () => {
  await docker('cp', `${folder}/tree/sub/b`, 'stopped:/tmp/large')
  const answer = await fetchHead('/containers/stopped/archive?path=/')
  assert.equal(views().length, 1)
  answer.destroy()
  assert.equal(await docker('start', '-a', 'stopped'), 'content of a')
  await until('the view of its files was taken away', () => views().length === 0)
})
