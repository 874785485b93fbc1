import assert from 'node:assert/strict'
import { once } from 'node:events'
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

test('the log comes first where it was asked for', async () => {
  await docker('run', '--name', 'past', 'busybox', 'echo', 'before')
  const client = attach('two', 'logs=1&stdout=1&stderr=1')
  await Promise.race([once(client.socket, 'open'), once(client.socket, 'error')])
  client.socket.terminate()
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
