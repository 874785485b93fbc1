import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { closeDescriptor, socketPair } from '../linux/descriptors.ts'
import { connectMonitor, readExitRecord } from './monitor.ts'
import { encodeFrame, encodeHello, requestType } from './monitorFrames.ts'
import { attachClient, launch, makeRig, type Rig, readLog, TestClient, unframe } from './monitorRig.ts'
import type { MonitorEvents } from './types.ts'

test('a run: started, output, exit code, record, end', async t => {
  const rig = makeRig(t, { script: 'echo out; echo err >&2; exit 7' })
  const { client, exited, closed } = await launch(rig)
  assert.equal(client.id, rig.spec.id)
  assert.equal(client.status.phase, 'new')
  assert.equal(readExitRecord(rig.directory), undefined)
  const attached = await attachClient(t, client, { multiplexed: true })
  const status = await client.start()
  assert.equal(status.phase, 'running')
  assert.ok(status.pid > 0 && status.startedAt > 0n)
  const record = await exited
  assert.equal(record.exitCode, 7)
  assert.equal(record.pid, status.pid)
  assert.ok(record.finishedAt >= record.startedAt)
  assert.deepEqual(readExitRecord(rig.directory), record)
  await attached.ended
  assert.deepEqual(unframe(attached.bytes), { 1: 'out\n', 2: 'err\n' })
  await client.release()
  await closed
  assert.equal(existsSync(path.join(rig.directory, 'control.sock')), false)
  await assert.rejects(connectMonitor(rig.directory), { code: 'ENOENT' })
})

test('a run whose process the runtime itself waited for ends, and says that its code is not known', async t => {
  const rig = makeRig(t, { script: '' })
  writeFileSync(
    rig.spec.runtime.path,
    '#!/bin/sh\nwhile [ "$1" != --pid-file ]; do shift; done\ntrue & echo $! >"$2"; wait\n',
  )
  const { client, exited } = await launch(rig)
  await client.start()
  const { phase, exitCode, error } = await exited
  assert.deepEqual({ phase, exitCode }, { phase: 'exited', exitCode: 255 })
  assert.match(error, /waited for the process itself/)
})

test('a signal is 128 and its number', async t => {
  const rig = makeRig(t, { script: 'kill -TERM $$' })
  const { client, exited } = await launch(rig)
  await client.start()
  assert.equal((await exited).exitCode, 143)
})

test("what the runtime says when it refuses is the failure's text and the record's", async t => {
  const rig = makeRig(t, { script: '' })
  writeFileSync(path.join(rig.bundle, 'refuse'), `exec: "nosuch": not found\n`)
  const { client, exited, closed } = await launch(rig)
  const attached = await attachClient(t, client, { multiplexed: true })
  const waiting = await openWait(t, client, 'exit')
  await assert.rejects(client.start(), { message: 'exec: "nosuch": not found', code: 'monitor-refused' })
  const record = await exited
  assert.equal(record.phase, 'failed')
  assert.equal(record.error, 'exec: "nosuch": not found')
  assert.deepEqual(readExitRecord(rig.directory), record)
  await waiting.ended
  assert.equal(waiting.text, '{"StatusCode":127}\n')
  assert.equal(readFileSync(rig.logPath, 'utf8'), '')
  await client.release()
  await Promise.all([attached.ended, closed])
  assert.equal(attached.text, '')
})

test('clients of an exec that could not be started are told why before they are let go', async t => {
  const log = { driver: 'none', path: '', maxSize: 0, maxFile: 1, attrs: '' } as const
  const rig = makeRig(t, { script: '', change: { log } })
  writeFileSync(path.join(rig.bundle, 'refuse'), 'no')
  const { client, closed } = await launch(rig)
  const attached = await attachClient(t, client, { multiplexed: false })
  await assert.rejects(client.say('too early'), /could not be started/)
  await assert.rejects(client.start(), { code: 'monitor-refused' })
  await client.say('because\r\n')
  await client.release()
  await Promise.all([attached.ended, closed])
  assert.equal(attached.text, 'because\r\n')
})

test('a long refusal is cut to 8 KiB', async t => {
  const rig = makeRig(t, { script: '' })
  writeFileSync(path.join(rig.bundle, 'refuse'), 'x'.repeat(20000))
  const { client } = await launch(rig)
  await assert.rejects(client.start(), error => error instanceof Error && error.message === 'x'.repeat(8192))
})

test('a runtime that is not there is named', async t => {
  const rig = makeRig(t, { script: '' })
  rmSync(rig.spec.runtime.path)
  const { client } = await launch(rig)
  await assert.rejects(client.start(), /cannot run the OCI runtime .*No such file/)
})

test('a monitor that cannot be born says why', async t => {
  const rig = makeRig(t, { script: '', change: { log: { path: '/proc/nosuch/c.log' } } })
  await assert.rejects(launch(rig), /cannot open the log \/proc\/nosuch\/c\.log: No such file/)
})

test('a monitor that was never started ends when it is released', async t => {
  const rig = makeRig(t, { script: '' })
  const { client, closed } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.release()
  await Promise.all([closed, attached.ended])
})

const openWait = async (
  t: { after(undo: () => void): void },
  client: { wait(fd: number, condition: 'exit' | 'removed'): Promise<void> },
  condition: 'exit' | 'removed',
): Promise<TestClient> => {
  const [ours, theirs] = socketPair()
  const waiting = new TestClient(ours)
  t.after(() => waiting.socket.destroy())
  await client.wait(theirs, condition)
  closeDescriptor(theirs)
  return waiting
}

test('waiters are answered at exit and at removal, after the record is written', async t => {
  const rig = makeRig(t, { script: 'read line; exit 3', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const atExit = await openWait(t, client, 'exit')
  const atRemoval = await openWait(t, client, 'removed')
  const attached = await attachClient(t, client)
  await client.start()
  atExit.socket.once('data', () => assert.equal(readExitRecord(rig.directory)?.exitCode, 3))
  attached.socket.write('go\n')
  await Promise.all([exited, atExit.ended])
  assert.equal(atExit.text, '{"StatusCode":3}\n')
  assert.equal(atRemoval.text, '')
  const late = await openWait(t, client, 'exit')
  await late.ended
  assert.equal(late.text, '{"StatusCode":3}\n')
  await client.removed()
  await atRemoval.ended
  assert.equal(atRemoval.text, '{"StatusCode":3}\n')
})

test('the order at the end: record, word to the daemon, then the close of the stream', async t => {
  const rig = makeRig(t, { script: 'echo end' })
  const order: string[] = []
  const { client, exited } = await launch(rig, {
    ended: () => order.push(`ended ${readExitRecord(rig.directory)?.phase}`),
    exited: () => order.push(`exited ${readExitRecord(rig.directory)?.phase}`),
  })
  const attached = await attachClient(t, client)
  attached.socket.once('end', () => order.push(`closed ${readExitRecord(rig.directory)?.phase}`))
  await client.start()
  await Promise.all([exited, attached.ended])
  // Two sockets: which of them is read first says nothing, but whoever sees the close finds the record.
  const [ended, exitedWord] = order.filter(entry => !entry.startsWith('closed'))
  assert.match(ended ?? '', /^ended /)
  assert.equal(exitedWord, 'exited exited')
  assert.ok(order.includes('closed exited'), order.join())
})

test('several daemons are told, and one that comes later learns where things stand', async t => {
  const rig = makeRig(t, { script: 'read line; exit 5', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const told: string[] = []
  const events: Partial<MonitorEvents> = {
    started: status => told.push(`started ${status.pid}`),
    exited: record => told.push(`exited ${record.exitCode}`),
  }
  const second = await connectMonitor(rig.directory, events)
  t.after(() => second.close())
  assert.equal(second.status.phase, 'new')
  const attached = await attachClient(t, second)
  const { pid } = await client.start()
  await assert.rejects(second.start(), /already started/)
  await assert.rejects(second.release(), /still runs/)
  client.close()
  const third = await connectMonitor(rig.directory)
  t.after(() => third.close())
  assert.equal(third.status.phase, 'running')
  assert.equal(third.status.pid, pid)
  attached.socket.write('go\n')
  await attached.ended
  const fourth = await connectMonitor(rig.directory)
  t.after(() => fourth.close())
  assert.equal(fourth.status.exit?.exitCode, 5)
  await fourth.release()
  await Promise.race([exited, Promise.resolve()])
  assert.deepEqual(told, [`started ${pid}`, 'exited 5'])
})

/** Starts the rig's container from a process of its own, which then gets SIGKILL: a daemon that dies. */
const startAndDie = async (rig: Rig): Promise<void> => {
  const launcher = `
    import { launchMonitor } from ${JSON.stringify(path.join(import.meta.dirname, 'launch.ts'))}
    const { spec, binary } = JSON.parse(process.env.RIG)
    const client = await launchMonitor(spec, { binary })
    await client.start()
    process.stdout.write('started')
    setInterval(() => {}, 1000)`
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', launcher], {
    env: { ...process.env, RIG: JSON.stringify({ spec: rig.spec, binary: rig.binary }) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise(resolve => daemon.stdout.once('data', resolve))
  daemon.kill('SIGKILL')
  await new Promise(resolve => daemon.once('exit', resolve))
}

test('the daemon dies by SIGKILL: log and exit go on, and the next daemon takes it back', async t => {
  const rig = makeRig(t, {
    script: 'echo one; while [ ! -e "$0.go" ]; do sleep 0.01; done; echo two; exit 9',
  })
  await startAndDie(rig)
  const back = await connectMonitor(rig.directory)
  rig.undo.push(() => back.close())
  assert.equal(back.status.phase, 'running')
  while (readLog(rig.logPath).length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  const attached = await attachClient(t, back)
  back.close()
  writeFileSync(path.join(rig.bundle, 'run.sh.go'), '')
  await attached.ended
  assert.equal(attached.text, 'two\n')
  assert.equal(readExitRecord(rig.directory)?.exitCode, 9)
  assert.deepEqual(
    readLog(rig.logPath).map(line => line.log),
    ['one\n', 'two\n'],
  )
  const last = await connectMonitor(rig.directory)
  assert.equal(last.status.exit?.exitCode, 9)
  await last.release()
})

test('a process that keeps the pipe after the first one ended does not keep the exit', async t => {
  const rig = makeRig(t, { script: 'sleep 600 & echo $! >"$0.pid"; echo out' })
  rig.undo.push(() =>
    process.kill(Number(readFileSync(path.join(rig.bundle, 'run.sh.pid'), 'utf8')), 'SIGKILL'),
  )
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await Promise.all([exited, attached.ended])
  assert.equal(attached.text, 'out\n')
})

test("a monitor sheds the daemon's state: session, directory, umask, limits, signals, descriptors", async t => {
  const rig = makeRig(t, {
    script: 'umask; ulimit -Sn; pwd; trap; grep -E "Sig(Blk|Ign)" /proc/self/status; read x',
    change: { openStdin: true },
  })
  const { client } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('SigIgn')
  /* A shell's background job ignores INT and QUIT; nothing else, SIGPIPE least of all, may be. */
  assert.match(attached.text, /^0022\n1024\n\/\nSigBlk:\s0{16}\nSigIgn:\s0{15}[06]\n/)
  const stat = readFileSync(`/proc/${client.pid}/stat`, 'utf8').split(' ')
  assert.notEqual(stat[3], String(process.pid))
  assert.equal(stat[5], String(client.pid))
  attached.socket.end('x\n')
})

/** Sends these bytes to the control socket and resolves when the monitor has closed the connection. */
const sendRaw = (rig: Rig, bytes: Buffer): Promise<void> =>
  new Promise(resolve => {
    const socket = connect(path.join(rig.directory, 'control.sock'))
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.resume()
    socket.end(bytes)
  })

test('bytes that are no requests cost their sender the connection, and nobody else', async t => {
  const rig = makeRig(t, { script: 'read x; exit 2', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  const hello = encodeHello()
  for (let round = 0; round < 200; round++) {
    const noise = randomBytes(1 + ((round * 37) % 3000))
    await sendRaw(rig, round % 2 === 0 ? noise : Buffer.concat([hello, requestNoise(noise)]))
  }
  assert.equal(client.status.phase, 'running')
  attached.socket.write('x\n')
  assert.equal((await exited).exitCode, 2)
})

/** Whole frames of every type but the three that have effects of their own, with contents that mean nothing. */
const requestNoise = (noise: Buffer): Buffer => {
  const effective: number[] = [requestType.closeStdin, requestType.release, requestType.start]
  const frames: Buffer[] = []
  for (let at = 0; at + 2 < noise.length && frames.length < 20; at += 12) {
    const type = (noise[at] ?? 0) % 0x30
    if (!effective.includes(type))
      frames.push(encodeFrame({ type, tag: at + 1, payload: noise.subarray(at + 1, at + 12) }))
  }
  return Buffer.concat(frames)
}

test('requests to a monitor that does not read now wait in order, descriptors with them', async t => {
  const rig = makeRig(t, { script: 'read x; exit 2', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  await client.start()
  process.kill(client.pid, 'SIGSTOP')
  const answered: number[] = []
  const requests = Array.from({ length: 3000 }, (_, index) =>
    client.resize(1, 1).then(() => answered.push(index)),
  )
  const attaching = attachClient(t, client).then(attached => {
    answered.push(3000)
    return attached
  })
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(answered, [])
  process.kill(client.pid, 'SIGCONT')
  await Promise.all(requests)
  const attached = await attaching
  assert.deepEqual(
    answered,
    Array.from({ length: 3001 }, (_, index) => index),
  )
  attached.socket.write('x\n')
  assert.equal((await exited).exitCode, 2)
})
