import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  existsSync,
  fstatSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { closeDescriptor, connectUnix, socketPair } from '../linux/descriptors.ts'
import { connectHolder } from './holder.ts'
import { launchHolder } from './launch.ts'
import { monitorBinary } from './monitorRig.ts'
import type { HolderClient } from './types.ts'

const makeRoot = (t: TestContext): string => {
  const root = mkdtempSync('/tmp/berth-holder-test-')
  t.after(() => rmSync(root, { recursive: true, force: true }))
  return root
}

/** A connection whose holder is empty and gone after the test. */
const open = async (t: TestContext, root: string): Promise<HolderClient> => {
  const holder = await connectHolder(root, { binary: monitorBinary() })
  t.after(async () => {
    try {
      holder.dropAll('')
    } catch {
      /* The test closed it. */
    }
    holder.close()
  })
  return holder
}

const aDescriptor = (t: TestContext): number => {
  const [one, two] = socketPair()
  t.after(() => {
    closeDescriptor(one)
    closeDescriptor(two)
  })
  return one
}

const gone = async (file: string): Promise<void> => {
  while (existsSync(file)) await new Promise(resolve => setTimeout(resolve, 5))
}

test('what is put can be taken, listed and dropped, by name and by beginning', async t => {
  const root = makeRoot(t)
  const holder = await open(t, root)
  const fd = aDescriptor(t)
  holder.put('port:abc:tcp:0.0.0.0:80', fd, 'port')
  holder.put('port:abc:udp:0.0.0.0:53', fd, 'port')
  holder.put('dns:abc', fd, 'dns')
  assert.equal(holder.take('port:none'), undefined)
  const taken = holder.take('dns:abc') ?? -1
  assert.equal(fstatSync(taken).ino, fstatSync(fd).ino)
  closeDescriptor(taken)
  assert.deepEqual(
    holder.list('port:abc:').map(held => [held.name, held.kind]),
    [
      ['port:abc:tcp:0.0.0.0:80', 'port'],
      ['port:abc:udp:0.0.0.0:53', 'port'],
    ],
  )
  const all = holder.takeAll('')
  assert.equal(all.length, 3)
  for (const held of all) closeDescriptor(held.fd)
  holder.dropAll('port:abc:')
  holder.drop('not there')
  assert.deepEqual(holder.list(), [{ name: 'dns:abc', kind: 'dns' }])
  holder.put('dns:abc', fd, 'dns')
  assert.equal(holder.list().length, 1)
})

test('hundreds of names with long lists come whole', async t => {
  const holder = await open(t, makeRoot(t))
  const fd = aDescriptor(t)
  const names = Array.from({ length: 700 }, (_, index) => `port:${'x'.repeat(200)}:${index}`)
  for (const name of names) holder.put(name, fd, 'port')
  assert.deepEqual(
    holder
      .list()
      .map(held => held.name)
      .sort(),
    names.sort(),
  )
})

test('it ends when nothing is held and no daemon is there; another start finds the way free', async t => {
  const root = makeRoot(t)
  const socket = path.join(root, 'holder.sock')
  const holder = await open(t, root)
  holder.put('dns:a', aDescriptor(t), 'dns')
  holder.close()
  const again = await open(t, root)
  assert.equal(again.list().length, 1)
  again.drop('dns:a')
  again.close()
  await gone(socket)
  const last = await open(t, root)
  assert.deepEqual(last.list(), [])
})

test('only one holder serves a directory', async t => {
  const root = makeRoot(t)
  const binary = monitorBinary()
  const [one, two, three] = await Promise.all([open(t, root), open(t, root), open(t, root)])
  one.put('dns:a', aDescriptor(t), 'dns')
  assert.equal(two.list().length, 1)
  assert.equal(three.list().length, 1)
  const fd = launchHolder(root, { binary })
  t.after(() => closeDescriptor(fd))
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(one.list().length, 1)
})

/** A daemon of its own: listens, gives its listener to the holder, says so, and lives until it is killed. */
const daemonScript = `
  import { createServer } from 'node:net'
  import { connectHolder } from ${JSON.stringify(path.join(import.meta.dirname, 'holder.ts'))}
  const { ROOT, SOCKET, BINARY } = process.env
  const server = createServer(socket => socket.end('first')).listen(SOCKET, async () => {
    const holder = await connectHolder(ROOT, { binary: BINARY })
    holder.put('api:unix:' + SOCKET, server._handle.fd, 'api')
    process.stdout.write('held')
  })`

const runDaemonAndKill = async (root: string, socket: string): Promise<void> => {
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', daemonScript], {
    env: { ...process.env, ROOT: root, SOCKET: socket, BINARY: monitorBinary() },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise(resolve => daemon.stdout.once('data', resolve))
  daemon.kill('SIGKILL')
  await new Promise(resolve => daemon.once('exit', resolve))
}

const listenOn = (fd: number): Promise<Server> =>
  new Promise(resolve => {
    const server = createServer(socket => socket.end('second')).listen({ fd }, () => resolve(server))
  })

test('a listener outlives the daemon that died by SIGKILL; who connected meanwhile is served by the next', async t => {
  const root = makeRoot(t)
  const socket = path.join(root, 'api.sock')
  await runDaemonAndKill(root, socket)
  const inode = statSync(socket).ino
  const client = connect(socket)
  const text = new Promise<string>(resolve => client.once('data', chunk => resolve(String(chunk))))
  await new Promise(resolve => client.once('connect', resolve))
  const holder = await open(t, root)
  const fd = holder.take(`api:unix:${socket}`)
  assert.ok(fd !== undefined)
  const server = await listenOn(fd)
  t.after(() => server.close())
  assert.equal(await text, 'second')
  assert.equal(statSync(socket).ino, inode)
  client.destroy()
})

const holdApi = async (t: TestContext, root: string, socket: string): Promise<HolderClient> => {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(socket, () => resolve()))
  const holder = await open(t, root)
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  holder.put(`api:unix:${socket}`, fd, 'api')
  /* Closing a server unlinks its path: keep the file, as a daemon that hands over does. */
  renameSync(socket, `${socket}.kept`)
  await new Promise<void>(resolve => server.close(() => resolve()))
  renameSync(`${socket}.kept`, socket)
  return holder
}

test('a daemon that says when it will be back: after that its API socket is closed and unlinked', async t => {
  const root = makeRoot(t)
  const socket = path.join(root, 'api.sock')
  const holder = await holdApi(t, root, socket)
  closeDescriptor(connectUnix(socket))
  holder.leaving(0)
  holder.close()
  await gone(socket)
  await gone(path.join(root, 'holder.sock'))
  assert.throws(() => connectUnix(socket), { code: 'ENOENT' })
})

test("another's socket at the same path is not unlinked", async t => {
  const root = makeRoot(t)
  const socket = path.join(root, 'api.sock')
  const holder = await holdApi(t, root, socket)
  rmSync(socket)
  writeFileSync(socket, 'another')
  holder.leaving(0)
  holder.close()
  await gone(path.join(root, 'holder.sock'))
  assert.equal(readFileSync(socket, 'utf8'), 'another')
})

test('DNS and port descriptors stay when the API goes', async t => {
  const root = makeRoot(t)
  const socket = path.join(root, 'api.sock')
  const holder = await holdApi(t, root, socket)
  holder.put('port:c:tcp:80', aDescriptor(t), 'port')
  holder.leaving(0)
  holder.close()
  await gone(socket)
  const back = await open(t, root)
  assert.deepEqual(back.list(), [{ name: 'port:c:tcp:80', kind: 'port' }])
})

test('a daemon is told when the store is lost, and starts another', async t => {
  const root = makeRoot(t)
  const lost = Promise.withResolvers<void>()
  const holder = await connectHolder(root, { binary: monitorBinary(), onLost: lost.resolve })
  holder.put('dns:a', aDescriptor(t), 'dns')
  process.kill(holder.pid, 'SIGKILL')
  await lost.promise
  assert.throws(() => holder.list(), { code: 'unavailable' })
  holder.close()
  const again = await open(t, root)
  assert.deepEqual(again.list(), [])
})
