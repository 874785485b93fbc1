import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { hasCode } from '../../../core/errors.ts'
import { digestOf } from '../../../oci/digest.ts'
import { startClient } from '../../../registry-client/testing/client.ts'
import { type Folders, openFolders } from '../testing/folders.ts'
import { download, type HttpOperation, httpKey, pinnedKey } from './http.ts'

interface Stage extends AsyncDisposable {
  folders: Folders
  url: string
  /** Downloads into a new folder. */
  get(
    more?: Partial<HttpOperation>,
    signal?: AbortSignal,
  ): Promise<Awaited<ReturnType<typeof download>> & { path: string }>
}

const open = async (listener: RequestListener): Promise<Stage> => {
  const server = createServer(listener)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const folders = openFolders()
  const registries = startClient()
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/dir/file.txt`
  const operation = (more: Partial<HttpOperation>): HttpOperation => ({
    kind: 'http',
    url,
    filename: '',
    ...more,
  })
  return {
    folders,
    url,
    get: async (more = {}, signal = new AbortController().signal) => {
      const root = folders.folder()
      const record = await download(operation(more), { root, registries, signal })
      return { ...record, path: join(root, record.filename) }
    },
    [Symbol.asyncDispose]: async () => {
      await registries[Symbol.asyncDispose]()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      await folders[Symbol.asyncDispose]()
    },
  }
}

test('a file with its name, time, mode and owner', async () => {
  await using stage = await open((_request, response) => {
    response.setHeader('last-modified', 'Sat, 03 Feb 2001 04:05:06 GMT')
    response.end('text')
  })
  const got = await stage.get({ mode: 0o640, uid: 5, gid: 6 })
  assert.deepEqual([got.filename, got.digest, got.size], ['file.txt', digestOf('text'), 4])
  assert.equal(readFileSync(got.path, 'utf8'), 'text')
  const stat = statSync(got.path)
  assert.deepEqual([stat.mode & 0o7777, stat.uid, stat.gid], [0o640, 5, 6])
  assert.equal(stat.mtime.toISOString(), '2001-02-03T04:05:06.000Z')
})

test('without a time it is the epoch’s, and only its owner reads it', async () => {
  await using stage = await open((_request, response) => response.end('text'))
  const stat = statSync((await stage.get()).path)
  assert.deepEqual([stat.mtimeMs, stat.mode & 0o7777], [0, 0o600])
})

test('names: the step’s, the server’s, that of the address, never one that leads out', async () => {
  let told = ''
  await using stage = await open((_request, response) => {
    if (told !== '') response.setHeader('content-disposition', told)
    response.end('')
  })
  const nameOf = async (disposition: string, more: Partial<HttpOperation> = {}): Promise<string> => {
    told = disposition
    return (await stage.get(more)).filename
  }
  assert.equal(await nameOf('attachment; filename="a b.txt"'), 'a b.txt')
  assert.equal(await nameOf('attachment; filename=plain'), 'plain')
  assert.equal(await nameOf('attachment; filename="../../etc/passwd"'), 'passwd')
  assert.equal(await nameOf('attachment; filename=".."'), 'file.txt')
  assert.equal(await nameOf('attachment; filename="x"', { filename: 'own' }), 'own')
  assert.equal(await nameOf('', { url: new URL('/', stage.url).href }), 'download')
})

test('a checksum is held', async () => {
  await using stage = await open((_request, response) => response.end('text'))
  await stage.get({ checksum: digestOf('text') })
  await assert.rejects(
    stage.get({ checksum: digestOf('other') }),
    error =>
      hasCode(error, 'digest-mismatch') &&
      /digest mismatch for http.* \(expected: sha256:/.test(String(error)),
  )
})

test('redirects are followed, and any other status is told', async () => {
  await using stage = await open((request, response) => {
    if (request.url === '/dir/file.txt') response.writeHead(302, { location: '/real' }).end()
    else if (request.url === '/real') response.end('real')
    else response.writeHead(404).end()
  })
  const got = await stage.get()
  assert.deepEqual([got.filename, readFileSync(got.path, 'utf8')], ['file.txt', 'real'])
  await assert.rejects(stage.get({ url: new URL('/no', stage.url).href }), /cannot download .*404 Not Found/)
})

test('a connection that breaks, and one that is not there', async () => {
  await using stage = await open((_request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('some', () => response.destroy())
  })
  await assert.rejects(stage.get(), error => hasCode(error, 'download-failed'))
  await assert.rejects(
    stage.get({ url: 'http://user:secret@127.0.0.1:1/' }),
    error => hasCode(error, 'download-failed') && !String(error).includes('secret'),
  )
})

test('an abort ends it', async () => {
  const stop = new AbortController()
  await using stage = await open((_request, response) => {
    response.writeHead(200)
    response.write('some', () => stop.abort(new Error('enough')))
  })
  await assert.rejects(stage.get({}, stop.signal), /enough/)
})

test('keys: of what came, and of a checksum', () => {
  const operation: HttpOperation = { kind: 'http', url: 'http://host/x', filename: '' }
  const record = { filename: 'x', digest: digestOf('x') }
  assert.equal(httpKey(operation, record), httpKey({ ...operation, url: 'http://mirror/x' }, record))
  for (const other of [
    { ...record, filename: 'y' },
    { ...record, digest: digestOf('y') },
  ])
    assert.notEqual(httpKey(operation, record), httpKey(operation, other))
  assert.notEqual(httpKey(operation, record), httpKey({ ...operation, mode: 0o644 }, record))
  assert.equal(pinnedKey(operation), undefined)
  assert.ok(pinnedKey({ ...operation, checksum: digestOf('x') }))
})
