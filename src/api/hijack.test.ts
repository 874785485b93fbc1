import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { closeLingering } from './hijack.ts'

const server = createServer({ allowHalfOpen: true })
const name = `\0berth-hijack-${process.pid}`
before(() => new Promise<void>(resolve => server.listen(name, resolve)))
after(() => server.close())

const pair = async (): Promise<[Socket, Socket]> => {
  const client = connect({ path: name, allowHalfOpen: true })
  const [served] = (await once(server, 'connection')) as [Socket]
  client.on('error', () => {})
  return [client.resume(), served]
}

test('a client that never closes is closed in the end', async () => {
  const [client, served] = await pair()
  closeLingering(served, { milliseconds: 20, bytes: 10 })
  await once(served, 'close')
  client.destroy()
})

test('a client that goes on sending is closed in the end', async () => {
  const [client, served] = await pair()
  closeLingering(served, { milliseconds: 3_600_000, bytes: 100_000 })
  const sending = setInterval(() => client.write(Buffer.alloc(10_000)), 1)
  await once(served, 'close')
  clearInterval(sending)
  client.destroy()
})

test('a client that closes is closed at once, and has had its answer', async () => {
  const [client, served] = await pair()
  let got = ''
  client.on('data', bytes => {
    got += bytes.toString()
  })
  served.write('answer')
  closeLingering(served, { milliseconds: 3_600_000, bytes: 100_000 })
  await once(client, 'end')
  client.end('more')
  await once(served, 'close')
  assert.equal(got, 'answer')
})
