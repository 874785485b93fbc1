import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must } from './harness/shell.ts'

let daemon: TestDaemon
let folder = ''
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  folder = mkdtempSync(path.join(daemon.base, 'archives-'))
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

interface Inspected {
  Config: { Env: string[]; Cmd: string[]; Labels?: object; WorkingDir?: string }
  Author: string
  Comment: string
  Parent: string
  RootFS: { Layers: string[] }
}

const inspectImage = (name: string): Promise<Inspected> => daemon.json('GET', `/images/${name}/json`)

const blobs = async (): Promise<string> => must(['sh', '-c', `ls ${daemon.dataRoot}/blobs/sha256 | sort`])

test('changes are told in path order; none is null', async () => {
  await docker('create', '--name', 'untouched', 'busybox', 'true')
  assert.equal((await daemon.api('GET', '/containers/untouched/changes')).text.trim(), 'null')
  await docker('start', '-a', 'untouched')
  assert.equal((await daemon.api('GET', '/containers/untouched/changes')).text.trim(), 'null')
  await docker(
    'run',
    '-d',
    '--name',
    'worker',
    'busybox',
    'sh',
    '-c',
    'echo new > /tmp/new; rm /etc/group; echo x >> /etc/passwd; mkdir /home/a; exec sleep 1000',
  )
  await docker('exec', 'worker', 'sh', '-c', 'while [ ! -e /home/a ]; do sleep 0.1; done')
  assert.equal(
    await docker('diff', 'worker'),
    'C /etc\nD /etc/group\nC /etc/passwd\nC /home\nA /home/a\nC /tmp\nA /tmp/new',
  )
  assert.equal((await daemon.api('GET', '/containers/nobody/changes')).status, 404)
})

test('a commit of a running container is an image with what it wrote', async () => {
  const id = await docker(
    'commit',
    '-a',
    'me',
    '-m',
    'said',
    '-c',
    'ENV A="x y"',
    '-c',
    'CMD ["cat", "/tmp/new"]',
    '-c',
    'WORKDIR /home',
    'worker',
    'mine:1',
  )
  assert.match(id, /^sha256:[a-f0-9]{64}$/)
  assert.equal(await docker('run', '--rm', 'mine:1'), 'new')
  assert.equal(
    await docker('run', '--rm', 'mine:1', 'sh', '-c', 'pwd; test -e /etc/group || echo gone'),
    '/home\ngone',
  )
  const image = await inspectImage('mine:1')
  assert.deepEqual(
    [image.Author, image.Comment, image.Config.Cmd, image.RootFS.Layers.length],
    ['me', 'said', ['cat', '/tmp/new'], 2],
  )
  assert.ok(image.Config.Env.includes('A=x y'))
  assert.equal(await docker('inspect', '-f', '{{.State.Status}}', 'worker'), 'running')
  assert.match(
    await docker('history', '--format', '{{.CreatedBy}} {{.Comment}}', 'mine:1'),
    /^sh -c echo new .* said\n/,
  )
})

test('a body’s configuration stands before the container’s, changes before both', async () => {
  const { Id } = await daemon.json<{ Id: string }>(
    'POST',
    '/commit?container=untouched&repo=body&changes=LABEL%20l=2',
    {
      Cmd: ['from', 'body'],
      Labels: { l: '1', k: '1' },
    },
  )
  const image = await inspectImage(Id)
  assert.deepEqual([image.Config.Cmd, image.Config.Labels], [['from', 'body'], { l: '2', k: '1' }])
})

test('a container that changed nothing adds no layer', async () => {
  await docker('create', '--name', 'idle', 'busybox')
  const { Id } = await daemon.json<{ Id: string }>('POST', '/commit?container=idle&comment=empty')
  const image = await inspectImage(Id)
  assert.equal(image.RootFS.Layers.length, 1)
  assert.equal(await docker('run', '--rm', Id, 'echo', 'works'), 'works')
})

const stubs = [
  ...['.dockerenv', 'dev/', 'dev/console', 'dev/pts/', 'dev/shm/', 'etc/hostname', 'etc/hosts', 'etc/mtab'],
  ...['etc/resolv.conf', 'proc/', 'sys/'],
]

test('what a run mounts is no change: nothing to commit, and empty places in an export', async () => {
  for (const runtime of ['crun', 'runc'])
    for (const tty of [false, true]) {
      const name = `ran-${runtime}-${tty}`
      await docker('run', '--name', name, '--runtime', runtime, ...(tty ? ['-t'] : []), 'busybox', 'true')
      assert.equal(await docker('diff', name), '', name)
      const id = await docker('commit', name)
      assert.equal((await inspectImage(id)).RootFS.Layers.length, 1, name)
      const listed = await must(['sh', '-c', `${daemon.client} export ${name} | tar -tvf -`], {
        env: daemon.dockerEnv,
      })
      const sizes = new Map(
        listed.split('\n').map(line => [line.split(/\s+/)[5] ?? '', line.split(/\s+/)[2]]),
      )
      for (const stub of stubs) assert.equal(sizes.get(stub), '0', `${name}: ${stub}`)
      await docker('rm', name)
    }
})

test('a commit’s layer holds what the container wrote, and no more', async () => {
  const [, digest = ''] = (await inspectImage('mine:1')).RootFS.Layers
  const layer = path.join(daemon.dataRoot, 'blobs/sha256', digest.replace('sha256:', ''))
  const names = (await must(['tar', '-tf', layer])).split('\n')
  assert.deepEqual(names, [...['etc/', 'etc/.wh.group', 'etc/passwd', 'home/', 'home/a/', 'tmp/', 'tmp/new']])
})

test('a refused commit says why and leaves nothing', async () => {
  const before = await blobs()
  const { code, stderr } = await daemon.docker(['commit', '-c', 'RUN x', 'worker', 'bad:1'])
  assert.equal(code, 1)
  assert.match(stderr, /RUN is not a valid change command/)
  assert.equal((await daemon.api('POST', '/commit?container=nobody', {})).status, 404)
  assert.equal((await daemon.api('POST', '/commit?container=worker&repo=Bad', {})).status, 400)
  assert.equal(await blobs(), before)
})

test('what is exported can be imported, compressed or not', async () => {
  const tar = path.join(folder, 'export.tar')
  await docker('export', '-o', tar, 'worker')
  const names = (await must(['tar', '-tf', tar])).split('\n')
  assert.ok(names.includes('bin/busybox') && names.includes('tmp/new') && !names.includes('etc/group'))
  writeFileSync(`${tar}.gz`, gzipSync(readFileSync(tar)))
  await docker('import', '-c', 'CMD ["cat","/tmp/new"]', '-m', 'from outside', tar, 'plain:1')
  await docker('import', `${tar}.gz`, 'zipped:1')
  assert.equal(await docker('run', '--rm', 'plain:1'), 'new')
  const [plain, zipped] = [await inspectImage('plain:1'), await inspectImage('zipped:1')]
  assert.deepEqual(plain.RootFS, zipped.RootFS)
  assert.equal(plain.Comment, 'from outside')
})

test('a stopped container is exported, and its mounts are not', async () => {
  writeFileSync(path.join(folder, 'secret'), 'x')
  await docker('run', '--name', 'done', '-v', `${folder}:/mounted`, 'busybox', 'touch', '/own')
  const tar = path.join(folder, 'done.tar')
  await docker('export', '-o', tar, 'done')
  const names = (await must(['tar', '-tf', tar])).split('\n')
  assert.ok(names.includes('own') && names.includes('mounted/') && !names.includes('mounted/secret'))
})

test('an archive that is none is refused, and nothing of it stays', async () => {
  const before = await blobs()
  const { status, text } = await daemon.api(
    'POST',
    '/images/create?fromSrc=-&repo=junk',
    Buffer.alloc(4096, 'junk'),
  )
  assert.equal(status, 400, text)
  assert.equal(await blobs(), before)
  assert.equal((await daemon.api('GET', '/images/junk/json')).status, 404)
})

test('a crash between a commit’s layer and its record leaves nothing of it', async () => {
  const before = await blobs()
  for (const point of ['commit.layer', 'import.layer']) {
    await daemon.kill()
    await daemon.start({ env: { BERTH_FAILPOINTS: `${point}=kill` } })
    const tar = path.join(folder, 'done.tar')
    await daemon.docker(point === 'commit.layer' ? ['commit', 'worker', 'cut:1'] : ['import', tar, 'cut:1'])
    await daemon.exited()
    await daemon.start()
    assert.equal(await blobs(), before)
  }
  const state = await docker('inspect', '-f', '{{.State.Status}}', 'worker')
  assert.equal(state, 'running')
})
