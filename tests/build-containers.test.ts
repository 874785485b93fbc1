import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Code } from '@connectrpc/connect'
import { MountType, NetMode, SecurityMode } from '../src/wire/buildkit/ops_pb.ts'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { groupProcesses } from './harness/groups.ts'
import { type LedBuild, LedProcess, leadBuild } from './harness/leadBuild.ts'
import { remappedUsers, remapping } from './harness/remappedUsers.ts'
import { until } from './harness/shell.ts'

/** Containers in what a build made, for who leads it (BuildKit's gateway). */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

/** A build with a container `box` of busybox. */
const withBox = async (options: Parameters<typeof leadBuild>[1] = {}): Promise<LedBuild> => {
  const build = await leadBuild(daemon, options)
  const resultId = await build.image('busybox')
  await build.container('box', { mounts: [{ dest: '/', resultId }] })
  return build
}

test('a process reads what it is sent, and its output, its end and its code are told in order', async () => {
  await using build = await withBox()
  build.read()
  const process = build.start('box', ['/bin/sh', '-c', 'cat; echo told >&2; exit 3'])
  process.write('one\n')
  process.write('two\n')
  process.endInput()
  await process.done()
  assert.deepEqual([process.stdout, process.stderr], ['one\ntwo\n', 'told\n'])
  assert.deepEqual([process.exit?.code, process.exit?.error?.message], [3, 'exit code: 3'])
  assert.deepEqual(
    process.cases.filter(name => !name.startsWith('data')),
    ['started', 'eof 1', 'eof 2', 'exit', 'done'],
  )
  await build.end()
})

const processAt = (pid: number): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return undefined
  }
}

/** The one process of the daemon's containers whose command begins so. */
const processOf = (command: string): Promise<number> =>
  until(`a process ${command}`, () =>
    groupProcesses(daemon.execRoot).find(pid => processAt(pid)?.startsWith(command)),
  )

/** Waits until a figure is the same before and after the daemon has had its turns to change it. */
const settled = async (what: string, figure: () => number): Promise<number> => {
  await until(`${what} settled`, async () => {
    const before = figure()
    for (let turn = 0; turn < 20; turn++) await daemon.ping()
    return before > 0 && figure() === before
  })
  return figure()
}

const textOf = async (
  build: LedBuild,
  containerId: string,
  filePath: string,
  mountIndex = 0,
): Promise<string> => {
  const { data } = await build.bridge.readFileContainer(
    { ref: containerId, filePath, mountIndex },
    build.call,
  )
  return Buffer.from(data).toString()
}

/** Nothing of a container is left in the kernel or below exec-root. */
const isGone = async (): Promise<void> => {
  await audit(daemon)
  for (const folder of ['containers', 'execs'])
    assert.deepEqual(readdirSync(path.join(daemon.execRoot, folder)), [], folder)
}

test('environment, user, folder and host name are as asked, with a PATH where none is given', async () => {
  await using build = await leadBuild(daemon)
  const resultId = await build.image('busybox')
  await build.container('box', {
    mounts: [{ dest: '/', resultId }],
    hostname: 'boxed',
    extraHosts: [{ host: 'other', ip: '10.1.2.3' }],
  })
  const show = 'env | grep -v ^HOME= | sort; id -u; id -g; pwd; hostname; grep other /etc/hosts'
  const { stdout } = await build.run('box', show, { env: ['GIVEN=a b'], user: '7:8', cwd: '/tmp/made' })
  assert.equal(
    stdout,
    [
      'GIVEN=a b',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'PWD=/tmp/made',
      'SHLVL=1',
      ...['7', '8', '/tmp/made', 'boxed', '10.1.2.3\tother', ''],
    ].join('\n'),
  )
})

test('a terminal has the size that it is given, and echoes', async () => {
  await using build = await withBox()
  build.read()
  const script = 'trap "stty size; exit 0" WINCH; echo $TERM ready; while :; do read line; done'
  const process = build.start('box', ['/bin/sh', '-c', script], { tty: true, fds: [0, 1] })
  await process.until(({ stdout }) => stdout.includes('xterm ready'))
  process.send({ case: 'resize', value: { rows: 33, cols: 77 } })
  await process.until(({ stdout }) => stdout.includes('33 77'))
  await process.done()
  assert.equal(process.exit?.code, 0)
  const echoing = build.start('box', ['/bin/cat'], { tty: true, fds: [0, 1] })
  await echoing.done()
  assert.match(echoing.exit?.error?.message ?? '', /container box has stopped/)
})

test('signals come by their names, with SIG or without', async () => {
  await using build = await withBox()
  build.read()
  const script =
    'trap "echo usr1" USR1; trap "echo term; exit 9" TERM; echo ready; while :; do read line; done'
  const process = build.start('box', ['/bin/sh', '-c', script])
  await process.until(({ stdout }) => stdout === 'ready\n')
  process.send({ case: 'signal', value: { name: 'SIGUSR1' } })
  await process.until(({ stdout }) => stdout === 'ready\nusr1\n')
  process.send({ case: 'signal', value: { name: 'TERM' } })
  await process.done()
  assert.deepEqual([process.stdout, process.exit?.code], ['ready\nusr1\nterm\n', 9])
})

test('later processes run beside the first one, and end with it', async () => {
  await using build = await withBox()
  build.read()
  const first = build.start('box', ['/bin/sh', '-c', 'echo 1 >/tmp/first; read line; exit 5'], {
    env: ['FIRST=1'],
    cwd: '/tmp',
  })
  await until(
    'the first one wrote',
    async () => (await textOf(build, 'box', '/tmp/first').catch(() => '')) !== '',
  )
  const beside = await build.run('box', 'cat first; env; id -u; tr "\\0" " " </proc/1/cmdline', {
    env: ['OWN=2'],
    user: '12',
  })
  assert.equal(beside.exit?.code, 0, beside.stderr)
  assert.match(beside.stdout, /^1\n/)
  assert.match(beside.stdout, /OWN=2/)
  assert.doesNotMatch(beside.stdout, /FIRST=/)
  assert.match(beside.stdout, /\n12\n\/bin\/sh -c echo 1 /)
  const failing = await build.run('box', 'exit 4')
  assert.equal(failing.exit?.code, 4)
  const terminal = await build.run('box', 'tty; echo $TERM', { tty: true, fds: [1] })
  assert.match(terminal.stdout, /^\/dev\/pts\/\d+\r\nxterm\r\n$/)
  const waiting = build.start('box', ['/bin/sleep', '1000'])
  await waiting.until(({ cases }) => cases.includes('started'))
  first.write('end\n')
  await Promise.all([first.done(), waiting.done()])
  assert.deepEqual([first.exit?.code, waiting.exit?.code], [5, 137])
  const late = await build.run('box', 'true')
  assert.deepEqual(late.cases, ['started', 'eof 1', 'eof 2', 'exit', 'done'])
  assert.deepEqual([late.exit?.code, late.exit?.error?.message], [255, 'container box has stopped'])
})

test('what is written is seen while the container is there, and is never in the result', async () => {
  await using build = await leadBuild(daemon)
  const resultId = await build.image('busybox')
  const mounts = [
    { dest: '/', resultId },
    { dest: '/empty' },
    { dest: '/whole', resultId, readonly: true },
    { dest: '/part', resultId, selector: 'bin' },
    { dest: '/memory', mountType: MountType.TMPFS },
    { dest: '/kept', mountType: MountType.CACHE, cacheOpt: { id: 'of containers' } },
  ]
  await build.container('one', { mounts })
  build.read()
  const script = [
    'for to in / /empty /part /memory /kept; do echo "in $to" >$to/file; done',
    'ln -s /etc/passwd /empty/link; ln -s ../../../../../etc/hostname /empty/out',
    'echo no >/whole/file || ls /part/busybox; rm /bin/cat; echo ready; read line',
  ].join('; ')
  const process = build.start('one', ['/bin/sh', '-c', script])
  await process.until(({ stdout }) => stdout.includes('ready'))
  assert.match(process.stderr, /Read-only file system/)
  assert.match(process.stdout, /^\/part\/busybox/)
  const seen: string[] = []
  for (const index of [0, 1, 3, 4, 5]) seen.push(await textOf(build, 'one', '/file', index))
  assert.deepEqual(seen, ['in /\n', 'in /empty\n', 'in /part\n', 'in /memory\n', 'in /kept\n'])
  const { entries } = await build.bridge.readDirContainer(
    { ref: 'one', dirPath: '/', mountIndex: 1 },
    build.call,
  )
  assert.deepEqual(
    entries.map(({ path: name, linkname }) => [
      Buffer.from(name).toString(),
      Buffer.from(linkname).toString(),
    ]),
    [
      ['file', ''],
      ['link', '/etc/passwd'],
      ['out', '../../../../../etc/hostname'],
    ],
  )
  for (const link of ['/link', '/out'])
    await assert.rejects(textOf(build, 'one', link, 1), /no such file or directory/)
  const { stat } = await build.bridge.statFileContainer({ ref: 'one', path: '/kept/../file' }, build.call)
  assert.deepEqual([Number(stat?.size), Buffer.from(stat?.path ?? '').toString()], [5, 'file'])
  await assert.rejects(textOf(build, 'one', '/bin/cat'), /no such file or directory/)
  await assert.rejects(textOf(build, 'one', '/file', 6), /mount index 6 is out of bounds \(6 available\)/)
  await build.release('one')
  await process.done()
  assert.equal(process.exit?.code, 137)
  await build.container('two', { mounts })
  assert.equal(await textOf(build, 'two', '/file', 5), 'in /kept\n')
  for (const index of [0, 1, 3]) await assert.rejects(textOf(build, 'two', '/file', index), /no such file/)
  await assert.rejects(textOf(build, 'two', '/file', 4), /while the first process of its container runs/)
  assert.equal((await build.run('two', 'cat /bin/cat | head -c 4')).stdout.slice(1), 'ELF')
  await assert.rejects(
    async () => await build.bridge.readFile({ ref: resultId, filePath: '/file' }, build.call),
    /no such file/,
  )
  await build.end()
  assert.equal(
    await daemon.mustDocker(['run', '--rm', 'busybox', 'sh', '-c', 'ls /file 2>/dev/null; ls /bin/cat']),
    '/bin/cat',
  )
  await isGone()
})

test('a root that is read only is so for processes, and has places for what is mounted in it', async () => {
  await using build = await leadBuild(daemon)
  const resultId = await build.image('busybox')
  await build.container('box', { mounts: [{ dest: '/new/place' }, { dest: '/', resultId, readonly: true }] })
  const { stdout, stderr } = await build.run(
    'box',
    'echo x >/new/place/file && cat /new/place/file; echo y >/file',
  )
  assert.deepEqual([stdout, /Read-only file system/.test(stderr)], ['x\n', true])
  assert.equal(await textOf(build, 'box', '/file', 0), 'x\n')
})

test('secrets are in files and variables of a process, and one that is missing is told of', async () => {
  await using build = await leadBuild(daemon, { secrets: { key: 'the secret' } })
  const resultId = await build.image('busybox')
  const secretOpt = { id: 'key', mode: 0o400 }
  await build.container('box', {
    mounts: [
      { dest: '/', resultId },
      { dest: '/run/key', mountType: MountType.SECRET, secretOpt },
    ],
  })
  const secretenv = [
    { id: 'key', name: 'KEY' },
    { id: 'other', name: 'OTHER', optional: true },
  ]
  const { stdout } = await build.run('box', 'cat /run/key; echo; echo $KEY; echo ${OTHER-none}', {
    secretenv,
  })
  assert.equal(stdout, 'the secret\nthe secret\nnone\n')
  await build.container('without', { mounts: [{ dest: '/', resultId }] })
  const missing = await build.run('without', 'true', { secretenv: [{ id: 'other', name: 'OTHER' }] })
  assert.deepEqual([missing.exit?.code, missing.exit?.error?.message], [255, 'secret other: not found'])
  await assert.rejects(
    build.container('refused', {
      mounts: [
        { dest: '/', resultId },
        { dest: '/s', mountType: MountType.SECRET, secretOpt: { id: 'other' } },
      ],
    }),
    /secret other: not found/,
  )
})

test('what is unknown is told in BuildKit’s words, and harms no other process', async () => {
  await using build = await withBox()
  build.read()
  const resultId = await build.image('busybox')
  await assert.rejects(build.container('box', { mounts: [{ dest: '/', resultId }] }), {
    code: Code.AlreadyExists,
    rawMessage: 'Container box already exists',
  })
  await assert.rejects(
    build.container('bad', { mounts: [{ dest: '/', resultId: 'nothing' }] }),
    /failed to find ref nothing for "\/" mount: return reference nothing not found/,
  )
  await assert.rejects(build.container('bad', { mounts: [{ dest: '/x', resultId }] }), /has no root/)
  await assert.rejects(build.release('bad'), /container details for bad not found/)
  await assert.rejects(textOf(build, 'bad', '/x', 2), /container details for bad@2 not found/)
  const waiting = build.start('box', ['/bin/cat'])
  await waiting.until(({ cases }) => cases.includes('started'))
  const stray = await build.run('bad', 'true')
  assert.deepEqual(
    [stray.exit?.code, stray.exit?.error?.code, stray.exit?.error?.message],
    [255, Code.NotFound, 'container "bad" previously released or not created'],
  )
  // Of one that has ended nothing is refused any more.
  stray.write('late')
  stray.send({ case: 'resize', value: { rows: 1, cols: 1 } })
  const absent = await build.run('box', 'true', { user: 'nobody-knows' })
  assert.match(absent.exit?.error?.message ?? '', /unable to find user nobody-knows/)
  waiting.endInput()
  await waiting.done()
  assert.equal(waiting.exit?.code, 0)
  new LedProcess('never-begun', build.outbox).write('x')
  await assert.rejects(build.start('box', ['/bin/true']).done(), {
    code: Code.NotFound,
    rawMessage: /IO for process "never-begun" not found/,
  })
})

test('a program that is not there is told of as started and ended', async () => {
  await using build = await withBox()
  build.read()
  const missing = await build.start('box', ['/no/such/program']).done()
  assert.deepEqual(missing.cases, ['started', 'eof 1', 'eof 2', 'exit', 'done'])
  assert.deepEqual([missing.exit?.code, missing.exit?.error?.code], [127, Code.Unknown])
  assert.match(missing.exit?.error?.message ?? '', /exec: "\/no\/such\/program".*no such file or directory/)
  const resultId = await build.image('busybox')
  await build.container('other', { mounts: [{ dest: '/', resultId }] })
  const first = build.start('other', ['/bin/cat'])
  const later = await build.start('other', ['no-such-program']).done()
  assert.deepEqual([later.exit?.code], [127])
  first.endInput()
  assert.equal((await first.done()).exit?.code, 0)
})

test('the host’s network and privileges need what the build was granted', async () => {
  await using plain = await withBox()
  const resultId = await plain.image('busybox')
  await assert.rejects(
    plain.container('host', { mounts: [{ dest: '/', resultId }], network: NetMode.HOST }),
    /network\.host is not allowed/,
  )
  const refused = await plain.run('box', 'true', { security: SecurityMode.INSECURE })
  assert.match(refused.exit?.error?.message ?? '', /security\.insecure is not allowed/)
  await using granted = await leadBuild(daemon, { entitlements: ['network.host'] })
  const other = await granted.image('busybox')
  await granted.container('host', { mounts: [{ dest: '/', resultId: other }], network: NetMode.HOST })
  const net = (await granted.run('host', 'readlink /proc/self/ns/net')).stdout.trim()
  assert.equal(net, readlinkSync(`/proc/${daemon.pid}/ns/net`))
  await granted.container('none', { mounts: [{ dest: '/', resultId: other }], network: NetMode.NONE })
  assert.match((await granted.run('none', 'ls /sys/class/net')).stdout, /^lo\n$/)
})

test('a client that does not read holds a process back, and gets all of it in the end', async () => {
  await using build = await withBox()
  build.open()
  const size = 96 << 20
  const process = build.start('box', ['/bin/dd', 'if=/dev/zero', 'bs=65536', `count=${size / 65536}`])
  const pid = await processOf('/bin/dd')
  const written = await settled('what the process wrote', () =>
    Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]),
  )
  assert.ok(written < size / 2, `${written} bytes were taken from the process, of which nobody has read any`)
  build.read()
  await process.done()
  assert.deepEqual([process.exit?.code, process.received >= size], [0, true])
})

test('many megabytes go through a process', async () => {
  await using build = await withBox()
  build.read()
  const process = build.start('box', ['/bin/md5sum'])
  const [block, hash] = [Buffer.alloc(1 << 20, 'berth'), createHash('md5')]
  for (let count = 0; count < 48; count++) {
    process.write(block)
    hash.update(block)
  }
  process.endInput()
  await process.done()
  assert.equal(process.stdout, `${hash.digest('hex')}  -\n`)
})

test('input that a process does not read stays with its client, and keeps nobody from ending it', async () => {
  await using build = await withBox()
  build.read()
  const process = build.start('box', ['/bin/sleep', '1000'])
  await process.until(({ cases }) => cases.includes('started'))
  for (let count = 0; count < 64; count++) process.write(Buffer.alloc(1 << 20))
  const kept = await settled('what the client keeps', () => build.outbox.size)
  assert.ok(kept > 32, `the client had to keep only ${kept} of 64 MiB`)
  await build.release('box')
  await process.done()
  assert.equal(process.exit?.code, 137)
})

test('a client that is gone takes its processes along, and nothing of them stays', async () => {
  const build = await withBox()
  build.read()
  build.start('box', ['/bin/sleep', '1001'])
  await processOf('/bin/sleep 1001')
  build.start('box', ['/bin/sleep', '1002'])
  const pid = await processOf('/bin/sleep 1002')
  build.leave()
  await until('its process was gone', () => processAt(pid) === undefined)
  await isGone()
  await build[Symbol.asyncDispose]()
})

test('the end of the build is the end of its containers', async () => {
  await using build = await withBox()
  build.read()
  const process = build.start('box', ['/bin/sleep', '1003'])
  const pid = await processOf('/bin/sleep 1003')
  await build.end()
  await assert.rejects(process.done(), /the build has ended/)
  await until('its process was gone', () => processAt(pid) === undefined)
  await isGone()
})

test('a stream that its client leaves takes its processes along, and the container stays', async () => {
  await using build = await withBox()
  const leaving = new AbortController()
  build.open({ signal: leaving.signal })
  build.start('box', ['/bin/sleep', '1006'])
  const pid = await processOf('/bin/sleep 1006')
  leaving.abort()
  await until('its process was gone', () => processAt(pid) === undefined)
  assert.equal((await textOf(build, 'box', '/etc/passwd')).slice(0, 5), 'root:')
  await build.release('box')
  await isGone()
})

test('a terminal whose client sends no more goes on', async () => {
  await using build = await withBox()
  build.read()
  const script = 'read line; echo "got $line"; until test -e /go; do :; done; echo "end"'
  const process = build.start('box', ['/bin/sh', '-c', script], { tty: true, fds: [0, 1] })
  process.write('it\n')
  process.endInput()
  await process.until(({ stdout }) => stdout.includes('got it'))
  // Which may be overtaken by the end of the first one.
  await Promise.all([build.run('box', 'touch /go'), process.done()])
  assert.match(process.stdout, /end\r\n$/)
})

test('privileges that were granted are those of the process', async () => {
  const config = { builder: { entitlements: { 'security-insecure': true } } }
  writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify(config))
  await daemon.restart()
  await using build = await leadBuild(daemon, { entitlements: ['security.insecure'] })
  const resultId = await build.image('busybox')
  const own = /CapBnd:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  const show = 'grep CapEff /proc/self/status'
  for (const security of [SecurityMode.SANDBOX, SecurityMode.INSECURE]) {
    const isAll = security === SecurityMode.INSECURE
    const id = `box-${security}`
    await build.container(id, { mounts: [{ dest: '/', resultId }] })
    build.read()
    const first = build.start(id, ['/bin/sh', '-c', `${show}; read line`], { security })
    await first.until(({ stdout }) => stdout.endsWith('\n'))
    assert.equal(first.stdout.includes(`${own}`), isAll)
    for (const later of [SecurityMode.SANDBOX, SecurityMode.INSECURE]) {
      const { stdout } = await build.run(id, show, { security: later })
      assert.equal(stdout.includes(`${own}`), isAll || later === SecurityMode.INSECURE)
    }
  }
})

test('a daemon that is told to stop takes containers of builds along', async () => {
  await using build = await withBox()
  build.read()
  build.start('box', ['/bin/sleep', '1007'])
  const pid = await processOf('/bin/sleep 1007')
  await daemon.kill('SIGTERM')
  assert.equal(processAt(pid), undefined)
  for (const folder of ['containers', 'execs', 'netns'])
    assert.deepEqual(readdirSync(path.join(daemon.execRoot, folder)), [], folder)
  await daemon.start()
})

test('in user namespaces owners are told as the processes know them', async () => {
  using users = remappedUsers()
  const remapped = await startDaemon(remapping(users))
  try {
    await remapped.loadBusybox()
    await using build = await leadBuild(remapped)
    const resultId = await build.image('busybox')
    const cacheOpt = { id: 'kept' }
    await build.container('box', {
      mounts: [
        { dest: '/', resultId },
        { dest: '/kept', mountType: MountType.CACHE, cacheOpt },
      ],
    })
    const script =
      'for to in / /kept; do touch $to/file; chown 7:8 $to/file; done; stat -c "%u:%g" /kept/file /bin/sh'
    assert.equal((await build.run('box', script)).stdout, '7:8\n0:0\n')
    for (const mountIndex of [0, 1]) {
      const asked = { ref: 'box', path: '/file', mountIndex }
      const { stat } = await build.bridge.statFileContainer(asked, build.call)
      assert.deepEqual([stat?.uid, stat?.gid], [7, 8], `mount ${mountIndex}`)
    }
    await build.end()
    await audit(remapped)
  } finally {
    await remapped.close()
  }
})

test('a daemon that is killed leaves nothing that its next start does not take away', async () => {
  const build = await withBox()
  build.read()
  build.start('box', ['/bin/sleep', '1004'])
  await processOf('/bin/sleep 1004')
  build.start('box', ['/bin/sleep', '1005'])
  const pid = await processOf('/bin/sleep 1005')
  await daemon.restart()
  await until('its process was gone', () => processAt(pid) === undefined)
  await isGone()
  await build[Symbol.asyncDispose]()
})
