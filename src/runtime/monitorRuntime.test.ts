import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { connectMonitor } from './monitor.ts'
import {
  attachClient,
  launch,
  makeRig,
  monitorBinary,
  type Rig,
  type SpecChange,
  unframe,
} from './monitorRig.ts'

/** With real runtimes on a busybox bundle. Needs root; run under the lock for tests that touch the kernel. */

const find = (name: string): string | undefined =>
  ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin']
    .map(folder => path.join(folder, name))
    .find(existsSync)

const runc = find('runc')
const crun = find('crun')
const isRoot = process.getuid?.() === 0
const isHybrid = existsSync('/sys/fs/cgroup/unified/cgroup.procs')

before(() => assert.ok(isRoot && runc && crun, 'these tests need root, runc and crun: run ./test'))

const memoryRoot = existsSync('/sys/fs/cgroup/memory') ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup'

interface Task {
  command: string[]
  terminal?: boolean
  memory?: number
  runtime?: string
  change?: SpecChange
}

interface RuntimeSpec {
  process: { args: string[]; terminal: boolean; cwd: string }
  root: { readonly: boolean }
  linux: { cgroupsPath: string; resources: Record<string, unknown> }
}

const writeBundle = (rig: Rig, task: Task): void => {
  const bin = path.join(rig.bundle, 'rootfs/bin')
  mkdirSync(bin, { recursive: true })
  copyFileSync('/bin/busybox', path.join(bin, 'busybox'))
  copyFileSync(monitorBinary(), path.join(bin, 'docker-init'))
  for (const name of ['sh', 'stty', 'sleep', 'cat', 'head', 'tail', 'ps', 'kill'])
    symlinkSync('busybox', path.join(bin, name))
  execFileSync(runc ?? 'runc', ['spec', '--bundle', rig.bundle])
  const file = path.join(rig.bundle, 'config.json')
  const config = JSON.parse(readFileSync(file, 'utf8')) as RuntimeSpec
  config.process.args = task.command
  config.process.terminal = task.terminal ?? false
  config.root.readonly = false
  config.linux.cgroupsPath = `/${rig.spec.id}`
  if (task.memory) config.linux.resources['memory'] = { limit: task.memory, swap: task.memory }
  writeFileSync(file, JSON.stringify(config))
}

const removeCgroup = (name: string): void => {
  const folder = path.join(memoryRoot, name)
  if (existsSync(folder)) rmdirSync(folder)
}

/** A rig whose container runs under a real runtime; the container is deleted when the test ends. */
const realRig = (t: TestContext, task: Task): Rig => {
  const rig = makeRig(t, { script: '' })
  const runtime = {
    ...rig.spec.runtime,
    path: task.runtime ?? runc ?? '',
    root: path.join(rig.directory, 'state'),
  }
  const memoryCgroup = path.join(memoryRoot, rig.spec.id)
  const monitors = `${rig.spec.id}-monitors`
  rig.spec = { ...rig.spec, runtime, memoryCgroup, monitorCgroups: [path.join(memoryRoot, monitors)] }
  const { log, ...change } = task.change ?? {}
  rig.spec = { ...rig.spec, terminal: task.terminal ?? false, ...change, log: { ...rig.spec.log, ...log } }
  rig.undo.push(() => removeCgroup(monitors))
  rig.undo.push(() => {
    spawnSync(runtime.path, ['--root', runtime.root, 'delete', '--force', rig.spec.id])
    removeCgroup(rig.spec.id)
  })
  writeBundle(rig, task)
  return rig
}

/** Kills the container first: its cgroup and the monitor's can only go when they are empty. */
const endWith = (rig: Rig, pid: number): void => {
  rig.undo.push(() => {
    spawnSync(rig.spec.runtime.path, ['--root', rig.spec.runtime.root, 'kill', rig.spec.id, 'KILL'])
    for (let turn = 0; turn < 500 && existsSync(`/proc/${pid}`); turn++)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
  })
}

test('runc: stdin, both streams, exit code; the monitor lives in its own cgroup', async t => {
  const rig = realRig(t, {
    command: ['sh', '-c', 'read x; echo out $x; echo err >&2; exit 6'],
    change: { openStdin: true },
  })
  const { client, exited, closed } = await launch(rig)
  const attached = await attachClient(t, client, { multiplexed: true })
  const status = await client.start()
  assert.match(
    readFileSync(`/proc/${client.pid}/cgroup`, 'utf8'),
    new RegExp(`/${rig.spec.id}-monitors$`, 'm'),
  )
  assert.match(readFileSync(`/proc/${status.pid}/cgroup`, 'utf8'), new RegExp(`/${rig.spec.id}$`, 'm'))
  attached.socket.write('word\n')
  assert.equal((await exited).exitCode, 6)
  await attached.ended
  assert.deepEqual(unframe(attached.bytes), { 1: 'out word\n', 2: 'err\n' })
  const pss = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${client.pid}/smaps_rollup`, 'utf8'))
  t.diagnostic(`the monitor's PSS: ${pss?.[1]} KiB (aim: below 512)`)
  await client.release()
  await closed
})

test('runc: what it says of a command that is not there is the failure', async t => {
  const rig = realRig(t, { command: ['/bin/nosuch'] })
  const { client, exited, closed } = await launch(rig)
  await assert.rejects(client.start(), /\/bin\/nosuch.*no such file or directory/)
  assert.equal((await exited).phase, 'failed')
  await client.release()
  await closed
})

test('runc: a terminal has its size, is resized, and echoes; stdin is the pty', async t => {
  const rig = realRig(t, {
    command: ['sh', '-c', 'stty size; read x; stty size; exit 2'],
    terminal: true,
    change: { openStdin: true, columns: 101, rows: 33 },
  })
  const { client, exited, closed } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('\r\n')
  await client.resize(77, 22)
  attached.socket.write('x\n')
  assert.equal((await exited).exitCode, 2)
  await attached.ended
  assert.match(attached.text, /^33 101\r\nx\r\n22 77\r\n$/)
  await client.release()
  await closed
})

test('runc: an OOM kill is told and recorded', async t => {
  const rig = realRig(t, {
    command: ['sh', '-c', 'tail /dev/zero; echo killed; sleep 600'],
    memory: 24 * 1024 * 1024,
  })
  const oom = Promise.withResolvers<void>()
  const { client, exited } = await launch(rig, { oom: () => oom.resolve() })
  const attached = await attachClient(t, client)
  const { pid } = await client.start()
  endWith(rig, pid)
  await oom.promise
  // The kernel may tell before it kills: what ends meanwhile was not killed by it.
  await attached.until('killed')
  assert.equal(client.status.oomKilled, true)
  process.kill(pid, 'SIGKILL')
  const record = await exited
  assert.equal(record.exitCode, 137)
  assert.equal(record.oomKilled, true)
})

test('runc: an exec has a monitor of its own, with its streams and exit code', async t => {
  const rig = realRig(t, { command: ['sleep', '600'] })
  const { client } = await launch(rig)
  endWith(rig, (await client.start()).pid)
  const directory = path.join(rig.bundle, 'exec')
  mkdirSync(directory)
  const config = JSON.parse(readFileSync(path.join(rig.bundle, 'config.json'), 'utf8')) as RuntimeSpec
  const processFile = path.join(directory, 'process.json')
  const args = ['sh', '-c', 'cat; echo err >&2; exit 11']
  writeFileSync(processFile, JSON.stringify({ ...config.process, args }))
  const exec: Rig = {
    ...rig,
    directory,
    spec: {
      ...rig.spec,
      id: `${rig.spec.id}-exec`,
      directory,
      task: { kind: 'exec', containerId: rig.spec.id, processFile },
      openStdin: true,
      stdinOnce: true,
      memoryCgroup: '',
      log: { ...rig.spec.log, driver: 'none' },
    },
  }
  const launched = await launch(exec)
  const attached = await attachClient(t, launched.client, { multiplexed: true })
  await launched.client.start()
  attached.socket.end('to the exec')
  assert.equal((await launched.exited).exitCode, 11)
  await attached.ended
  assert.deepEqual(unframe(attached.bytes), { 1: 'to the exec', 2: 'err\n' })
  await launched.client.release()
  await launched.closed
})

test('runc: the init mode forwards signals, reaps orphans, and ends as its command', async t => {
  const script =
    'trap "echo got TERM; exit 5" TERM; sh -c "sleep 0.01 & sh -c true &"; echo ready; while :; do sleep 0.05; done'
  const rig = realRig(t, { command: ['/bin/docker-init', '--', 'sh', '-c', script] })
  const { client, exited, closed } = await launch(rig)
  const attached = await attachClient(t, client)
  const { pid } = await client.start()
  endWith(rig, pid)
  await attached.until('ready\n')
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  for (const child of children.slice(1)) await vanished(child)
  process.kill(pid, 'SIGTERM')
  assert.equal((await exited).exitCode, 5)
  await attached.ended
  assert.match(attached.text, /got TERM/)
  await client.release()
  await closed
})

/** An orphan that the init has inherited is reaped, not left as a zombie. */
const vanished = async (pid: string): Promise<void> => {
  while (existsSync(`/proc/${pid}`)) await new Promise(resolve => setTimeout(resolve, 5))
}

for (const name of ['crun', 'runc'])
  test(`${name}: run from a sealed copy, a container and an exec in it`, async t => {
    const file = { crun, runc }[name] ?? ''
    const rig = realRig(t, {
      command: ['sh', '-c', 'read x; exit 8'],
      runtime: file,
      change: { openStdin: true },
    })
    const runtime = { ...rig.spec.runtime, hideUnified: name === 'crun' && isHybrid, sealed: true }
    rig.spec = { ...rig.spec, runtime }
    const { client, exited, closed } = await launch(rig)
    const attached = await attachClient(t, client)
    const { pid } = await client.start()
    const beside = makeRig(t, { script: '' })
    const processFile = path.join(beside.bundle, 'process.json')
    const { process: model } = JSON.parse(readFileSync(path.join(rig.bundle, 'config.json'), 'utf8'))
    writeFileSync(processFile, JSON.stringify({ ...model, args: ['sh', '-c', 'echo in; exit 9'] }))
    const task = { kind: 'exec' as const, containerId: rig.spec.id, processFile }
    beside.spec = { ...beside.spec, runtime, task, log: { ...beside.spec.log, driver: 'none' } }
    const exec = await launch(beside, {}, client)
    const inside = await attachClient(t, exec.client)
    await exec.client.start()
    assert.equal((await exec.exited).exitCode, 9)
    await inside.ended
    assert.equal(inside.text, 'in\n')
    await exec.client.release()
    await exec.closed
    // The copy is not left with anyone.
    for (const holder of [client.pid, pid])
      for (const fd of readdirSync(`/proc/${holder}/fd`))
        assert.doesNotMatch(readlinkSync(`/proc/${holder}/fd/${fd}`), /berth-runtime/)
    attached.socket.write('x\n')
    assert.equal((await exited).exitCode, 8)
    await client.release()
    await closed
  })

const hiddenTree = async (t: TestContext): Promise<void> => {
  const rig = realRig(t, { command: ['sh', '-c', 'echo out; exit 8'], runtime: crun ?? '' })
  rig.spec = { ...rig.spec, runtime: { ...rig.spec.runtime, hideUnified: true } }
  const { client, exited, closed } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  assert.equal((await exited).exitCode, 8)
  await attached.ended
  assert.equal(attached.text, 'out\n')
  assert.ok(existsSync('/sys/fs/cgroup/unified/cgroup.procs'))
  await client.release()
  await closed
}

// Elsewhere there is no such tree to hide.
if (isHybrid) test('crun: works on a hybrid host when the unified tree is hidden from it alone', hiddenTree)

test('a full disk: lines are dropped and counted, a marker says so, and no line is torn', async t => {
  const rig = makeRig(t, {
    script: 'seq 20000; echo full; read x; echo after',
    change: { openStdin: true },
  })
  const disk = path.join(rig.bundle, 'disk')
  mkdirSync(disk)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'berth-test', disk])
  // The monitor that has its log there may be ending still.
  rig.undo.push(() => execFileSync('umount', ['-l', disk]))
  const filler = path.join(disk, 'filler')
  writeFileSync(filler, Buffer.alloc(100_000))
  rig.spec = { ...rig.spec, log: { ...rig.spec.log, path: path.join(disk, 'c.log') } }
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('full\n')
  /* An answer tells that the batch is logged as well: clients are served first. */
  await client.resize(1, 1)
  /* Room again; the client has all lines whatever the disk took. */
  writeFileSync(filler, '')
  attached.socket.write('x\n')
  await exited
  await attached.ended
  assert.ok(attached.text.endsWith('20000\nfull\nafter\n'))
  const lines = readFileSync(rig.spec.log.path, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as { log: string })
  const texts = lines.map(line => line.log)
  const at = texts.findIndex(text => text.startsWith('[berth]'))
  const lost = Number(/^\[berth\] (\d+) lines lost: no space left on device\n$/.exec(texts[at] ?? '')?.[1])
  assert.deepEqual(texts.slice(at + 1), ['after\n'])
  assert.equal(texts[0], '1\n')
  assert.equal(texts[at - 1], `${at}\n`)
  assert.equal(at + lost, 20_001)
  const again = await connectMonitor(rig.directory)
  again.close()
})
