import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

/** A websocket to a container; `text` is what came so far. */
const attach = (container: string, query: string, version = '') => {
  const socket = new WebSocket(
    `ws+unix://${daemon.socket}:${version}/containers/${container}/attach/ws?${query}`,
  )
  const chunks: Buffer[] = []
  const kinds = new Set<boolean>()
  socket.on('message', (data, binary) => {
    chunks.push(data as Buffer)
    kinds.add(binary)
  })
  const closed = new Promise<number>(resolve => socket.once('close', resolve))
  return { socket, closed, kinds, text: () => Buffer.concat(chunks).toString() }
}

const all = 'stream=1&stdin=1&stdout=1&stderr=1'

test('a websocket that came before the start gets everything without frames, and the end', async () => {
  await docker('create', '--name', 'early', 'busybox', 'sh', '-c', 'echo out; echo err >&2')
  const client = attach('early', all)
  await once(client.socket, 'open')
  await docker('start', 'early')
  assert.equal(await client.closed, 1000)
  assert.deepEqual(client.text().split('\n').sort(), ['', 'err', 'out'])
  assert.deepEqual([...client.kinds], [true])
})

test('messages are stdin, and leaving is its end', async () => {
  await docker(
    'create',
    '-i',
    '--name',
    'reader',
    'busybox',
    'sh',
    '-c',
    'cat; echo ended > /tmp/ended; exec sleep 1000',
  )
  const client = attach('reader', all)
  await once(client.socket, 'open')
  await docker('start', 'reader')
  client.socket.send('hello ')
  client.socket.send(Buffer.from('there\n'))
  await until('the echo', () => client.text() === 'hello there\n')
  client.socket.close()
  await until(
    'stdin ended',
    async () => (await daemon.docker(['exec', 'reader', 'test', '-e', '/tmp/ended'])).code === 0,
  )
})

test('much output arrives whole at a client that reads slowly', async () => {
  await docker(
    'create',
    '--name',
    'loud',
    '--log-driver',
    'none',
    'busybox',
    'sh',
    '-c',
    'yes 0123456789abcde | head -c 8000000',
  )
  const client = attach('loud', 'stream=1&stdout=1')
  await once(client.socket, 'open')
  client.socket.pause()
  await docker('start', 'loud')
  assert.equal(await docker('inspect', '-f', '{{.State.Running}}', 'loud'), 'true')
  client.socket.resume()
  await client.closed
  assert.equal(client.text(), '0123456789abcde\n'.repeat(500_000))
})

test('only the streams that were asked for come; old versions get all', async () => {
  await docker('create', '--name', 'two', 'busybox', 'sh', '-c', 'echo out; echo err >&2')
  const only = attach('two', 'stream=1&stderr=1')
  const old = attach('two', 'stream=1', '/v1.41')
  await Promise.all([once(only.socket, 'open'), once(old.socket, 'open')])
  await docker('start', 'two')
  await Promise.all([only.closed, old.closed])
  assert.equal(only.text(), 'err\n')
  assert.deepEqual(old.text().split('\n').sort(), ['', 'err', 'out'])
})

test('what was written before comes first where the log was asked for', async () => {
  await docker('run', '-di', '--name', 'past', 'busybox', 'sh', '-c', 'echo before; cat')
  await until('the first line', async () => (await docker('logs', 'past')) === 'before')
  const client = attach('past', `${all}&logs=1`)
  await once(client.socket, 'open')
  client.socket.send('after\n')
  await until('both lines', () => client.text() === 'before\nafter\n')
  client.socket.close()
})

test('what cannot be attached to is told before the handshake', async () => {
  const status = (container: string, query = all): Promise<number> =>
    new Promise((resolve, reject) => {
      const { socket } = attach(container, query)
      socket.once('unexpected-response', (_req, res) => resolve(res.statusCode ?? 0))
      socket.once('open', () => reject(new Error('it was accepted')))
      socket.on('error', () => {})
    })
  assert.equal(await status('nobody'), 404)
  assert.equal(await status('two', 'stdout=1'), 400)
  const plain = await daemon.api('GET', `/containers/two/attach/ws?${all}`)
  assert.equal(plain.status, 400)
})

test('frames that come with the handshake are read, and broken ones end the client alone', async () => {
  await docker('create', '-i', '--name', 'hasty', 'busybox', 'cat')
  const handshake = [
    'GET /containers/hasty/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1',
    ...['Host: docker', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
    ...['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''],
  ].join('\r\n')
  const broken = connect(daemon.socket)
  broken.end(Buffer.concat([Buffer.from(handshake), Buffer.from([0xf3, 0x82, 1, 2, 3, 4])]))
  broken.resume()
  await once(broken, 'close')
  assert.equal(await daemon.ping(), 200)
  const whole = connect(daemon.socket)
  let got = ''
  whole.on('data', bytes => {
    got += bytes.toString('latin1')
  })
  // A masked text message, its key all zero.
  whole.write(
    Buffer.concat([Buffer.from(handshake), Buffer.from([0x81, 0x83, 0, 0, 0, 0]), Buffer.from('hi\n')]),
  )
  await until('the handshake is answered', () => got.includes('\r\n\r\n'))
  await docker('start', 'hasty')
  await until('the echo', () => got.endsWith('hi\n'))
  whole.destroy()
  await docker('rm', '-f', 'hasty')
})
