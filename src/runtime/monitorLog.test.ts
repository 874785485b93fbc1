import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { attachClient, launch, makeRig, type Rig, readLog, type SpecChange } from './monitorRig.ts'

/** Runs `cat` over these bytes and returns the rig once all is logged. */
const logBytes = async (
  t: Parameters<typeof makeRig>[0],
  bytes: Uint8Array | string,
  change: SpecChange = {},
): Promise<Rig> => {
  const rig = makeRig(t, { script: `cat "\${0%/*}/data"`, change })
  writeFileSync(path.join(rig.bundle, 'data'), bytes)
  await runOnce(rig)
  return rig
}

const runOnce = async (rig: Rig): Promise<void> => {
  const { client, exited, closed } = await launch(rig)
  await client.start()
  await exited
  await client.release()
  await closed
}

const joined = (file: string): string =>
  readLog(file)
    .map(line => line.log)
    .join('')

test('a line is byte for byte what json-file writes', async t => {
  const rig = await logBytes(t, 'tab\there "q" back\\slash <b>&\r\u0001\u007f é \u2028\u2029 \u{1f600}\n')
  const raw = readFileSync(rig.logPath, 'utf8')
  const time = /"time":"([^"]+)"/.exec(raw)?.[1] ?? ''
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/)
  assert.equal(
    raw,
    `{"log":"tab\\u0009here \\"q\\" back\\\\slash \\u003cb\\u003e\\u0026\\r\\u0001\u007f é \\u2028\\u2029 \u{1f600}\\n","stream":"stdout","time":"${time}"}\n`,
  )
})

test('the attributes stand between stream and time', async t => {
  const rig = await logBytes(t, 'x\n', { log: { attrs: '{"tag":"a/b"}' } })
  assert.match(
    readFileSync(rig.logPath, 'utf8'),
    /^\{"log":"x\\n","stream":"stdout","attrs":\{"tag":"a\/b"\},"time":"[^"]+"\}\n$/,
  )
})

test('bytes that are not UTF-8 become U+FFFD one by one; the rest of the line stays', async t => {
  const rig = await logBytes(
    t,
    Buffer.from([0x61, 0xff, 0xc3, 0x28, 0xe2, 0x82, 0x62, 0xed, 0xa0, 0x80, 0x0a]),
  )
  assert.equal(readLog(rig.logPath)[0]?.log, 'a\ufffd\ufffd(\ufffd\ufffdb\ufffd\ufffd\ufffd\n')
})

test('lines over 16 KiB are logged in parts, only the last with a newline', async t => {
  const rig = await logBytes(t, `${'a'.repeat(40000)}\n${'b'.repeat(16384)}\n${'c'.repeat(16383)}\nend`)
  assert.deepEqual(
    readLog(rig.logPath).map(line => [line.log[0], line.log.length, line.log.endsWith('\n')]),
    [
      ['a', 16384, false],
      ['a', 16384, false],
      ['a', 7233, true],
      ['b', 16384, false],
      ['\n', 1, true],
      ['c', 16384, true],
      ['e', 3, false],
    ],
  )
})

test('no character is torn where a long line is parted', async t => {
  for (const lead of ['', 'x', 'xx', 'xxx']) {
    const text = `${lead}${'\u{1f600}é€'.repeat(20000)}\n`
    const rig = await logBytes(t, text)
    assert.equal(joined(rig.logPath), text)
  }
})

test('streams are kept apart, and each has its own unfinished line', async t => {
  const script = 'printf out1; printf err1 >&2; sleep 0.05; echo out2; echo err2 >&2'
  const rig = makeRig(t, { script })
  await runOnce(rig)
  assert.deepEqual(
    readLog(rig.logPath)
      .map(({ log, stream }) => `${stream} ${log}`)
      .sort(),
    ['stderr err1err2\n', 'stdout out1out2\n'],
  )
})

const numbered = (count: number): string =>
  Array.from({ length: count }, (_, index) => `line ${index} ${'.'.repeat(40)}\n`).join('')

test('rotation: the number rises, old files go, none is longer than its limit and a line', async t => {
  const text = numbered(1000)
  const rig = await logBytes(t, text, { log: { maxSize: 10_000, maxFile: 3 } })
  const files = readdirSync(path.dirname(rig.logPath)).filter(name => name.startsWith('c.log'))
  const sequence = Number(readFileSync(`${rig.logPath}.seq`, 'utf8'))
  assert.ok(sequence > 5)
  assert.deepEqual(
    files.sort(),
    ['c.log', `c.log.${sequence - 2}`, `c.log.${sequence - 1}`, 'c.log.seq'].sort(),
  )
  const kept = [`.${sequence - 2}`, `.${sequence - 1}`, ''].map(end => joined(rig.logPath + end)).join('')
  assert.ok(text.endsWith(kept) && kept.length > 10_000 / 2)
  for (const end of [`.${sequence - 2}`, `.${sequence - 1}`, '']) {
    const { size } = statSync(rig.logPath + end)
    assert.ok(size <= 10_200, `${size}`)
    if (end !== '') assert.ok(size >= 10_000, `${size}`)
  }
})

test('with one file a rotation leaves nothing but the new one', async t => {
  const rig = await logBytes(t, numbered(300), { log: { maxSize: 5000, maxFile: 1 } })
  const files = readdirSync(path.dirname(rig.logPath)).filter(name => name.startsWith('c.log'))
  assert.deepEqual(files.sort(), ['c.log', 'c.log.seq'])
  assert.ok(Number(readFileSync(`${rig.logPath}.seq`, 'utf8')) > 3)
})

test('the next run appends and goes on counting', async t => {
  const rig = await logBytes(t, numbered(200), { log: { maxSize: 10_000, maxFile: 2 } })
  const before = Number(readFileSync(`${rig.logPath}.seq`, 'utf8'))
  await runOnce(rig)
  assert.ok(Number(readFileSync(`${rig.logPath}.seq`, 'utf8')) > before)
  assert.ok(joined(rig.logPath).endsWith(numbered(200).slice(-1000)))
})

test('a number that a death left behind is corrected by the files: no rotated file is ever overwritten', async t => {
  const rig = makeRig(t, { script: 'echo new', change: { log: { maxSize: 1, maxFile: 10 } } })
  writeFileSync(`${rig.logPath}.seq`, '4\n')
  writeFileSync(`${rig.logPath}.4`, '{"log":"old\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n')
  await runOnce(rig)
  assert.equal(readFileSync(`${rig.logPath}.seq`, 'utf8'), '5\n')
  assert.equal(joined(`${rig.logPath}.4`), 'old\n')
  assert.equal(joined(rig.logPath), 'new\n')
  writeFileSync(`${rig.logPath}.seq`, '')
  writeFileSync(`${rig.logPath}.8.gz`, '')
  await runOnce(rig)
  assert.equal(existsSync(`${rig.logPath}.9`), true)
  assert.equal(readFileSync(`${rig.logPath}.seq`, 'utf8'), '10\n')
})

test('a line that a death tore is ended, and the next one is whole', async t => {
  const rig = makeRig(t, { script: 'echo new' })
  writeFileSync(rig.logPath, '{"log":"torn')
  await runOnce(rig)
  const lines = readFileSync(rig.logPath, 'utf8').split('\n')
  assert.equal(lines[0], '{"log":"torn')
  assert.match(lines[1] ?? '', /^\{"log":"new\\n"/)
})

test('a rotation on demand is announced to every daemon', async t => {
  const rig = makeRig(t, {
    script: 'echo a; read x; echo b',
    change: { openStdin: true, log: { maxFile: 5 } },
  })
  const rotated: number[] = []
  const { client, exited } = await launch(rig, { rotated: sequence => rotated.push(sequence) })
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('a\n')
  await client.rotateLog()
  attached.socket.write('x\n')
  await exited
  assert.deepEqual(rotated, [2])
  assert.equal(joined(`${rig.logPath}.1`), 'a\n')
  assert.equal(joined(rig.logPath), 'b\n')
})

test('with one file a rotation on demand keeps the other one until the next', async t => {
  const rig = makeRig(t, {
    script: 'echo a; read x; echo b; read x; echo c',
    change: { openStdin: true, log: { maxFile: 1 } },
  })
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('a\n')
  await client.rotateLog()
  assert.equal(joined(`${rig.logPath}.1`), 'a\n')
  attached.socket.write('x\n')
  await attached.until('b\n')
  await client.rotateLog()
  assert.equal(existsSync(`${rig.logPath}.1`), false)
  attached.socket.write('x\n')
  await exited
  assert.equal(joined(`${rig.logPath}.2`), 'b\n')
  assert.equal(joined(rig.logPath), 'c\n')
})

test('growth is told for each MiB of the current file, and begins anew with the next one', async t => {
  const rig = makeRig(t, {
    script: 'seq 100000; read x; seq 100000',
    change: { openStdin: true, log: { maxFile: 5 } },
  })
  const told: number[] = []
  const { client, exited } = await launch(rig, { logGrown: size => told.push(size) })
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('\n100000\n')
  await client.rotateLog()
  const { size } = statSync(`${rig.logPath}.1`)
  const before = told.splice(0)
  assert.ok(before.length >= 2 && (before.at(-1) ?? 0) <= size && size - (before.at(-1) ?? 0) < 1 << 20)
  for (const [index, bytes] of before.entries())
    assert.ok(bytes - (before[index - 1] ?? 0) >= 1 << 20, `${before}`)
  attached.socket.write('x\n')
  await exited
  assert.equal(client.tellsGrowth, true)
  assert.ok((told[0] ?? 0) >= 1 << 20 && (told[0] ?? 0) < 2 << 20, `${told}`)
})

test('a log that someone emptied is written on from its new end', async t => {
  const rig = makeRig(t, { script: 'echo a; read x; echo b', change: { openStdin: true } })
  const { client, exited } = await launch(rig)
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('a\n')
  await client.resize(1, 1)
  truncateSync(rig.logPath)
  attached.socket.write('x\n')
  await exited
  assert.equal(joined(rig.logPath), 'b\n')
})

test('log driver none makes no file', async t => {
  const rig = await logBytes(t, 'x\n', { log: { driver: 'none' } })
  assert.equal(existsSync(rig.logPath), false)
})

test('nothing is lost of a million lines', async t => {
  const rig = makeRig(t, { script: 'seq 1000000' })
  await runOnce(rig)
  const lines = readFileSync(rig.logPath, 'utf8').split('\n')
  assert.equal(lines.length, 1_000_001)
  for (const index of [0, 1, 499_999, 999_999])
    assert.match(lines[index] ?? '', new RegExp(`^\\{"log":"${index + 1}\\\\n",`))
})
