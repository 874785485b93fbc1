import assert from 'node:assert/strict'
import { fstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  boundPath,
  closeDescriptor,
  connectUnix,
  duplicateDescriptor,
  memoryFile,
  receiveDescriptors,
  sendDescriptors,
  setTimeouts,
  socketPair,
  wouldBlock,
} from './descriptors.ts'

const pair = (t: TestContext): [number, number] => {
  const fds = socketPair()
  t.after(() => fds.forEach(closeDescriptor))
  return fds
}

test('descriptors arrive with the bytes they were sent with, as duplicates', t => {
  const [one, two] = pair(t)
  const file = memoryFile('test', Buffer.from('content'))
  assert.equal(sendDescriptors(one, Buffer.from('ab'), [file, one]), 2)
  assert.equal(sendDescriptors(one, Buffer.from('c'), []), 1)
  const inode = fstatSync(file).ino
  closeDescriptor(file)
  const first = receiveDescriptors(two, 100)
  const second = receiveDescriptors(two, 100)
  assert.equal(first.data.toString(), 'ab')
  assert.equal(first.fds.length, 2)
  assert.equal(fstatSync(first.fds[0] ?? -1).ino, inode)
  assert.equal(readFileSync(`/proc/self/fd/${first.fds[0]}`, 'utf8'), 'content')
  assert.deepEqual([second.data.toString(), second.fds], ['c', []])
  for (const fd of first.fds) closeDescriptor(fd)
})

test('a full socket would block instead of waiting, a closed one EPIPE, a silent one would block after its time', t => {
  const [one, two] = pair(t)
  const bytes = Buffer.alloc(65536)
  assert.throws(() => {
    for (;;) sendDescriptors(one, bytes, [])
  }, wouldBlock)
  const [three, four] = socketPair()
  closeDescriptor(four)
  assert.throws(() => sendDescriptors(three, bytes, []), { code: 'EPIPE' })
  assert.deepEqual(receiveDescriptors(three, 10), { data: Buffer.alloc(0), fds: [] })
  closeDescriptor(three)
  setTimeouts(one, 10)
  assert.throws(() => receiveDescriptors(one, 10), wouldBlock)
  assert.ok(two > 0)
})

test('more descriptors than the receiver has room for are closed, and the message is an error', t => {
  const [one, two] = pair(t)
  const before = readdirSync('/proc/self/fd').length
  sendDescriptors(one, Buffer.from('x'), new Array(12).fill(one))
  assert.throws(() => receiveDescriptors(two, 10), /more descriptors/)
  assert.equal(readdirSync('/proc/self/fd').length, before)
})

test('a unix socket is connected by its path, which must not be too long', async t => {
  const folder = mkdtempSync('/tmp/berth-descriptors-test-')
  t.after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 's')
  const server = createServer(socket => socket.end('hello'))
  t.after(() => server.close())
  await new Promise<void>(resolve => server.listen(file, resolve))
  const fd = connectUnix(file)
  t.after(() => closeDescriptor(fd))
  assert.throws(() => connectUnix(path.join(folder, 'absent')), { code: 'ENOENT' })
  assert.throws(() => connectUnix('/'.repeat(108)), /longer than 107 bytes/)
})

test('a duplicate has the number asked for or a higher one, and outlives the first', t => {
  const [one] = pair(t)
  const duplicate = duplicateDescriptor(one, 50)
  t.after(() => closeDescriptor(duplicate))
  assert.ok(duplicate >= 50)
  assert.equal(fstatSync(duplicate).ino, fstatSync(one).ino)
})

test('a bound unix socket has its path or its abstract name, any other socket none', async t => {
  const folder = mkdtempSync('/tmp/berth-bound-')
  t.after(() => rmSync(folder, { recursive: true }))
  const longest = path.join(folder, 'x'.repeat(107 - folder.length - 1))
  const abstract = `berth-bound-${process.pid}`
  for (const [at, bound] of [
    [path.join(folder, 'a'), path.join(folder, 'a')],
    [longest, longest],
    [`\0${abstract}`, `@${abstract}`],
    [0, ''],
  ] as const) {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(at, resolve))
    assert.equal(boundPath((server as unknown as { _handle: { fd: number } })._handle.fd), bound)
    server.close()
  }
  assert.equal(boundPath(pair(t)[0]), '')
})
