import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { dockerArchive, file } from './harness/images.ts'
import { until } from './harness/shell.ts'

/** Requests that are answered before their body is through: the client has its answer whole, and nothing stays. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const megabyte = 1024 * 1024
const open = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length
const head = (line: string, ...headers: string[]): string =>
  `${line} HTTP/1.1\r\nHost: d\r\n${headers.map(header => `${header}\r\n`).join('')}\r\n`

/** No archive, and more of it than the kernel holds for a reader. */
const broken = Buffer.alloc(8 * megabyte, 'no archive\n')
const gzip = Buffer.concat([Buffer.from('1f8b0800000000000003', 'hex'), broken])
const load = (length: number): string =>
  head('POST /images/load', 'Content-Type: application/x-tar', `Content-Length: ${length}`)

/** All that comes until the daemon closes; fails with the connection. */
const rest = async (socket: Socket): Promise<string> => {
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('latin1')
}

/** Reads until these words came, and goes on reading. */
const said = (socket: Socket, words: string): Promise<void> =>
  new Promise(resolve => {
    let seen = ''
    socket.resume().on('data', bytes => {
      seen += bytes.toString('latin1')
      if (seen.includes(words)) resolve()
    })
  })

/** Sends everything before it reads anything, as simple clients do, and keeps its end open. */
const sendAll = async (...parts: (string | Buffer)[]): Promise<Socket> => {
  const socket = connect({ path: daemon.socket, allowHalfOpen: true })
  socket.pause()
  for (const part of parts)
    await new Promise<void>((resolve, reject) => {
      socket.write(part, error => (error ? reject(error) : resolve()))
    })
  return socket
}

test('a client that ends within its body leaves no connection behind', async () => {
  const before = open()
  for (let count = 0; count < 20; count++) {
    const socket = connect({ path: daemon.socket, allowHalfOpen: true })
    socket.on('error', () => {})
    socket.write(load(100_000))
    socket.write(count % 2 === 0 ? gzip.subarray(0, 50_000) : broken.subarray(0, 50_000))
    await said(socket, 'errorDetail')
    if (count % 4 < 2) socket.end()
    else socket.destroy()
  }
  await until('they are closed', () => open() < before + 5)
})

test('a client that keeps its end open has the whole answer, and then the end', async () => {
  const socket = await sendAll(load(broken.length), broken)
  const answer = await rest(socket)
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  assert.match(answer, /\r\nConnection: close\r\n/)
  assert.match(answer, /"errorDetail":\{.*\r\n0\r\n\r\n$/s)
  socket.destroy()
})

test('what is refused while its body comes is told why', async () => {
  const json = Buffer.alloc(17 * megabyte, ' ')
  const tar = 'application/x-tar'
  const cases: [string, string, Buffer, RegExp][] = [
    ['POST /nowhere', tar, broken, /^HTTP\/1\.1 404 .*page not found/s],
    ['POST /v9.9/images/load', tar, broken, /^HTTP\/1\.1 400 .*is too new/s],
    ['PUT /containers/none/archive?path=/', tar, broken, /^HTTP\/1\.1 404 .*No such container: none/s],
    ['POST /images/create?fromSrc=-', tar, gzip, /^HTTP\/1\.1 400 .*gzip/s],
    ['POST /volumes/create', 'application/json', json, /^HTTP\/1\.1 413 .*larger than 16777216 bytes/s],
  ]
  for (const [line, type, body, words] of cases) {
    // Never whole: a daemon that waited for the rest would not answer.
    const fields = [`Content-Type: ${type}`, `Content-Length: ${2 * body.length}`]
    const socket = await sendAll(head(line, ...fields), body)
    const answer = await rest(socket)
    assert.match(answer, words, line)
    assert.match(answer, /\r\nConnection: close\r\n/, line)
    socket.destroy()
  }
})

test('nothing is done that comes behind the last answer', async () => {
  const type = 'Content-Type: application/json'
  const make = (name: string): string => {
    const body = `{"Name":"${name}"}`
    return head('POST /volumes/create', type, `Content-Length: ${body.length}`) + body
  }
  const answered = await sendAll(load(100_000), gzip.subarray(0, 50_000))
  await said(answered, 'errorDetail')
  answered.end(Buffer.concat([Buffer.alloc(50_000), Buffer.from(make('late'))]))
  await once(answered, 'close')

  const answering = connect(daemon.socket)
  answering.write(head('GET /events', 'Content-Length: 5'))
  await said(answering, 'Connection: close')
  answering.write(`12345${make('later')}`)
  await daemon.json('POST', '/volumes/create', { Name: 'seen' })
  await said(answering, '"seen"')
  answering.destroy()
  const { Volumes } = await daemon.json<{ Volumes: { Name: string }[] }>('GET', '/volumes')
  assert.deepEqual(
    Volumes.map(({ Name }) => Name),
    ['seen'],
  )
})

test('a connection whose bodies came whole serves on, read or not', async () => {
  const type = 'Content-Type: application/json'
  const socket = connect(daemon.socket)
  for (const line of ['POST /nowhere', 'POST /containers/nowhere/start', 'POST /volumes/create'])
    for (const pieces of [1, 2]) {
      const text = `${head(line, type, 'Content-Length: 2')}{}`
      socket.write(pieces === 1 ? text : text.slice(0, 20))
      if (pieces === 2) setImmediate(() => socket.write(text.slice(20)))
      const [answer] = (await once(socket, 'data')) as [Buffer]
      assert.match(answer.toString(), /\r\nConnection: keep-alive\r\n/, line)
    }
  socket.write(head('GET /_ping'))
  const [pong] = (await once(socket, 'data')) as [Buffer]
  assert.match(pong.toString(), /\r\nConnection: keep-alive\r\n[\s\S]*OK$/)
  socket.destroy()
})

test('who asks before sending a body is told to go on only where it is wanted', async () => {
  const expect = ['Expect: 100-continue', 'Content-Type: application/x-tar']
  const refused = connect(daemon.socket)
  refused.write(head('PUT /containers/nowhere/archive?path=/', ...expect, 'Content-Length: 5'))
  const answer = await rest(refused)
  assert.match(answer, /^HTTP\/1\.1 404 [\s\S]*\r\nConnection: close\r\n/)

  const archive = await dockerArchive([{ tags: ['asked:1'], layers: [[file('a', 'b')]] }])
  const wanted = connect(daemon.socket)
  wanted.write(head('POST /images/load?quiet=0', ...expect, `Content-Length: ${archive.length}`))
  await said(wanted, '100 Continue')
  wanted.write(archive)
  await said(wanted, 'Loaded image: asked:1')
  wanted.destroy()
})

test('docker load of a cut archive says what is wrong with it', async () => {
  const whole = await dockerArchive([
    { tags: ['cut:1'], layers: [[file('large', Buffer.alloc(6 * megabyte, 'x').toString())]] },
  ])
  const name = path.join(daemon.base, 'cut.tar')
  const cases: [Buffer, RegExp][] = [
    [whole.subarray(0, 4 * megabyte), /./],
    [Buffer.concat([whole.subarray(0, 1000), broken]), /./],
  ]
  for (const [bytes, words] of cases) {
    writeFileSync(name, bytes)
    for (let count = 0; count < 5; count++) {
      const { code, stderr } = await daemon.docker(['load', '-i', name])
      assert.equal(code, 1, stderr)
      assert.match(stderr, words)
      assert.doesNotMatch(stderr, /reset|broken pipe|EOF/)
    }
  }
})
