import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { attachClient, launch, makeRig, type TestClient, unframe } from './monitorRig.ts'

const keys = Buffer.from([0x10, 0x11])

test('stdin of several clients reaches the process, and all see its output', async t => {
  const rig = makeRig(t, { script: 'read a; echo "$a"; read b; echo "$b"', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const [one, two] = [await attachClient(t, client), await attachClient(t, client)]
  await client.start()
  one.socket.write('from one\n')
  await two.until('from one\n')
  two.socket.write('from two\n')
  await Promise.all([exited, one.ended, two.ended])
  assert.equal(one.text, 'from one\nfrom two\n')
  assert.equal(two.text, one.text)
})

test('a client gets the streams it asked for, framed or raw', async t => {
  const rig = makeRig(t, { script: 'echo out; echo err >&2' })
  const { client, exited } = await launch(rig)
  const both = await attachClient(t, client, { multiplexed: true })
  const out = await attachClient(t, client, { stderr: false })
  const err = await attachClient(t, client, { stdout: false, multiplexed: true })
  await client.start()
  await Promise.all([exited, both.ended, out.ended, err.ended])
  assert.deepEqual(unframe(both.bytes), { 1: 'out\n', 2: 'err\n' })
  assert.equal(out.text, 'out\n')
  assert.deepEqual([...err.bytes.subarray(0, 8)], [2, 0, 0, 0, 0, 0, 0, 4])
})

test('the end of stdin: with stdinOnce it closes the container, half-closed clients still get output', async t => {
  const rig = makeRig(t, { script: 'cat; echo after', change: { openStdin: true, stdinOnce: true } })
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  attached.socket.end('last words')
  await Promise.all([exited, attached.ended])
  assert.equal(attached.text, 'last wordsafter\n')
})

test('without stdinOnce the end of one client is not the end of stdin; closeStdin is', async t => {
  const rig = makeRig(t, { script: 'cat; echo after', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const [one, two] = [await attachClient(t, client), await attachClient(t, client)]
  await client.start()
  one.socket.end('one ')
  await two.until('one ')
  two.socket.write('two ')
  await two.until('one two ')
  await client.closeStdin()
  await Promise.all([exited, two.ended])
  assert.equal(two.text, 'one two after\n')
})

test('what a client sent before it vanished is delivered whole, and counts as its end', async t => {
  const rig = makeRig(t, {
    script: 'while [ ! -e "$0.go" ]; do sleep 0.01; done; wc -c',
    change: { openStdin: true, stdinOnce: true },
  })
  const { client, exited } = await launch(rig)
  const watcher = await attachClient(t, client, { stdin: false })
  const sender = await attachClient(t, client)
  await client.start()
  await new Promise<void>(resolve => sender.socket.write(Buffer.alloc(200_000), () => resolve()))
  sender.socket.destroy()
  writeFileSync(path.join(rig.bundle, 'run.sh.go'), '')
  await Promise.all([exited, watcher.ended])
  assert.equal(watcher.text.trim(), '200000')
})

test('bytes that the daemon had read come first, however many', async t => {
  const pending = randomBytes(500_000)
  const rest = randomBytes(100_000)
  const rig = makeRig(t, {
    script: 'sha256sum',
    change: { openStdin: true, stdinOnce: true, log: { driver: 'none' } },
  })
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client, { pending })
  await client.start()
  attached.socket.end(rest)
  await Promise.all([exited, attached.ended])
  const digest = createHash('sha256').update(pending).update(rest).digest('hex')
  assert.equal(attached.text, `${digest}  -\n`)
})

const echoRig = async (t: Parameters<typeof makeRig>[0]) => {
  const rig = makeRig(t, { script: 'cat', change: { openStdin: true } })
  const gone = Promise.withResolvers<boolean>()
  const launched = await launch(rig, { clientGone: gone.resolve })
  const watcher = await attachClient(t, launched.client, { stdin: false })
  const attached = await attachClient(t, launched.client, { detachKeys: keys })
  await launched.client.start()
  return { ...launched, watcher, attached, gone: gone.promise }
}

/** Each write is seen by the process, or known to be held, before the next. */
const type = async (attached: TestClient, bytes: number[]): Promise<void> => {
  await new Promise<void>(resolve => attached.socket.write(Buffer.from(bytes), () => resolve()))
}

test('the detach keys end the client, across reads; the container goes on', async t => {
  const { client, watcher, attached, gone } = await echoRig(t)
  await type(attached, [0x61, 0x10])
  await watcher.until('a')
  await type(attached, [0x11])
  assert.equal(await gone, true)
  await attached.ended
  assert.equal(watcher.text, 'a')
  assert.equal(client.status.phase, 'running')
  await client.closeStdin()
  await watcher.ended
})

test('a sequence that breaks off is passed on, and can begin again in its own middle', async t => {
  const { client, watcher, attached, gone } = await echoRig(t)
  await type(attached, [0x10, 0x62])
  await watcher.until('\x10b')
  await type(attached, [0x10, 0x10])
  await watcher.until('\x10b\x10')
  await type(attached, [0x11])
  assert.equal(await gone, true)
  await client.closeStdin()
  await watcher.ended
  assert.equal(watcher.text, '\x10b\x10')
})

test('keys held back at the end of stdin are passed on', async t => {
  const { client, watcher, attached } = await echoRig(t)
  attached.socket.end(Buffer.from([0x63, 0x10]))
  await watcher.until('c\x10')
  await client.closeStdin()
  await watcher.ended
})

const lines = 300_000

/** Writes far more than a socket holds, tells by a file that it could, waits for a word, and writes some more. */
const floodScript = `seq ${lines}; echo >"$0.done"; read x; echo last`

const flooded = (): string =>
  `${Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join('')}last\n`

/** Megabytes: says where they differ instead of printing them. */
const assertSame = (got: string, expected: string): void => {
  if (got === expected) return
  let at = 0
  while (got[at] === expected[at]) at++
  const around = [got, expected].map(text => JSON.stringify(text.slice(Math.max(0, at - 30), at + 30)))
  assert.fail(`${got.length} and ${expected.length} characters differ at ${at}: ${around.join(' is not ')}`)
}

const exists = async (file: string): Promise<void> => {
  while (!existsSync(file)) await new Promise(resolve => setTimeout(resolve, 5))
}

test('with a log a slow client does not hold the process back, and gets everything from the file', async t => {
  const rig = makeRig(t, { script: floodScript, change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const slow = await attachClient(t, client, { multiplexed: true, stdin: false })
  const quick = await attachClient(t, client)
  slow.socket.pause()
  await client.start()
  await exists(path.join(rig.bundle, 'run.sh.done'))
  assert.equal(slow.bytes.length, 0)
  slow.socket.resume()
  await slow.until(`${lines}\n`)
  /* It has caught up: from here on it is live again. */
  quick.socket.write('go\n')
  await Promise.all([exited, slow.ended, quick.ended])
  assertSame(unframe(slow.bytes)[1], flooded())
  assertSame(quick.text, flooded())
})

test('a slow client that only wakes after the exit still gets everything', async t => {
  const rig = makeRig(t, {
    script: `seq ${lines}; printf 'no end'`,
    change: { log: { maxSize: 1_000_000, maxFile: 100 } },
  })
  const { client, exited } = await launch(rig)
  const slow = await attachClient(t, client)
  slow.socket.pause()
  await client.start()
  assert.equal((await exited).exitCode, 0)
  slow.socket.resume()
  await slow.ended
  assertSame(slow.text, flooded().replace('last\n', 'no end'))
})

test('an unfinished line is neither lost nor doubled when a client changes between live and file', async t => {
  const script = `printf 'prompt> '; seq ${lines}; printf 'again> '; echo >"$0.done"; read x; printf 'rest\\n'`
  const rig = makeRig(t, { script, change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const slow = await attachClient(t, client)
  await client.start()
  slow.socket.pause()
  await exists(path.join(rig.bundle, 'run.sh.done'))
  slow.socket.resume()
  await slow.until('again> ')
  slow.socket.write('go\n')
  await Promise.all([exited, slow.ended])
  assertSame(slow.text, `prompt> ${flooded().replace('last\n', 'again> rest\n')}`)
})

test('a client that rotation overtakes is cut with a word on stderr, and nothing is skipped', async t => {
  const rig = makeRig(t, {
    script: floodScript,
    change: { openStdin: true, log: { maxSize: 50_000, maxFile: 2 } },
  })
  const { client } = await launch(rig)
  const slow = await attachClient(t, client, { multiplexed: true, stdin: false })
  slow.socket.pause()
  await client.start()
  await exists(path.join(rig.bundle, 'run.sh.done'))
  slow.socket.resume()
  await slow.ended
  const got = unframe(slow.bytes)
  assert.match(got[2], /output was lost: the log was rotated away/)
  assert.ok(flooded().startsWith(got[1]) && got[1].length > 0 && got[1].length < flooded().length)
  assert.equal(client.status.phase, 'running')
  await client.closeStdin()
})

test('a slow client keeps its place in a rotated file that another, shorter one replaces', async t => {
  const rig = makeRig(t, { script: floodScript, change: { openStdin: true, log: { maxFile: 2 } } })
  const { client, exited } = await launch(rig)
  const slow = await attachClient(t, client)
  slow.socket.pause()
  await client.start()
  await exists(path.join(rig.bundle, 'run.sh.done'))
  await client.rotateLog()
  writeFileSync(`${rig.logPath}.trim`, '')
  renameSync(`${rig.logPath}.trim`, `${rig.logPath}.1`)
  slow.socket.resume()
  slow.socket.write('go\n')
  await Promise.all([exited, slow.ended])
  assertSame(slow.text, flooded())
})

for (const [name, change] of [
  ['log driver none', { log: { driver: 'none' as const } }],
  ["Docker's rule", { blockOnSlowClient: true }],
] as const) {
  test(`${name}: a slow client holds the process back, and nothing is lost`, async t => {
    const rig = makeRig(t, { script: `seq ${lines}; echo >"$0.done"`, change })
    const { client, exited } = await launch(rig)
    const slow = await attachClient(t, client, { multiplexed: true })
    slow.socket.pause()
    await client.start()
    /* Cause, not time: the pipe is full and nobody reads it, so the writer cannot have come to its end. */
    await client.resize(1, 1)
    assert.equal(existsSync(path.join(rig.bundle, 'run.sh.done')), false)
    slow.socket.resume()
    await Promise.all([exited, slow.ended])
    assertSame(unframe(slow.bytes)[1], flooded().replace('last\n', ''))
  })
}

test('binary output reaches a slow client unharmed although the log cannot hold it', async t => {
  const data = randomBytes(3_000_000)
  const rig = makeRig(t, { script: `cat "\${0%/*}/data"` })
  writeFileSync(path.join(rig.bundle, 'data'), data)
  const { client, exited } = await launch(rig)
  const slow = await attachClient(t, client)
  slow.socket.pause()
  await client.start()
  setImmediate(() => slow.socket.resume())
  await Promise.all([exited, slow.ended])
  assert.equal(Buffer.compare(slow.bytes, data), 0)
})

test('a client with a cursor starts there, over rotations, and goes on live', async t => {
  const script = 'echo one; echo two >&2; read x; echo three; read x; echo four'
  const rig = makeRig(t, { script, change: { openStdin: true, log: { maxFile: 5 } } })
  const { client, exited } = await launch(rig)
  const first = await attachClient(t, client)
  await client.start()
  await first.until('two\n')
  await client.rotateLog()
  first.socket.write('x\n')
  await first.until('three\n')
  const later = await attachClient(t, client, { multiplexed: true, from: { sequence: 1, offset: 0 } })
  const tooOld = await attachClient(t, client, { multiplexed: true, from: { sequence: 9, offset: 0 } })
  await tooOld.ended
  assert.match(unframe(tooOld.bytes)[2], /output was lost/)
  first.socket.write('x\n')
  await Promise.all([exited, later.ended])
  assert.deepEqual(unframe(later.bytes), { 1: 'one\nthree\nfour\n', 2: 'two\n' })
})

test('more clients than there are places: the surplus is refused, the others are served', async t => {
  const rig = makeRig(t, { script: 'read x; echo out', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const clients = []
  for (let index = 0; index < 64; index++) clients.push(await attachClient(t, client))
  await assert.rejects(attachClient(t, client), /too many clients/)
  await client.start()
  clients[63]?.socket.write('x\n')
  await Promise.all([exited, ...clients.map(attached => attached.ended)])
  assert.deepEqual(new Set(clients.map(attached => attached.text)), new Set(['out\n']))
})
