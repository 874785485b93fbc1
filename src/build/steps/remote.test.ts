import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { startClient } from '../../registry-client/testing/client.ts'
import type { SnapshotStore } from '../../store/types.ts'
import type { SourceOperation, Vertex } from '../graph/types.ts'
import type { BuildContext, Tree, Work } from '../solver/types.ts'
import { RemoteSources } from './remote.ts'
import { DownloadRecords } from './sources/downloadRecords.ts'
import { fill, openFolders } from './testing/folders.ts'

const { signal } = new AbortController()
const build = (id: string): BuildContext => ({ id, signal })

const silent = { output: () => {}, status: () => {}, warning: () => {} }

/** A server whose file is another one with each request, and sources that keep snapshots as plain folders. */
const start = async () => {
  let count = 0
  /** Where it is set the file stays what it is. */
  const tag = { now: '' }
  const server = createServer((request, response) => {
    if (tag.now !== '' && request.headers['if-none-match'] === tag.now) return response.writeHead(304).end()
    if (tag.now !== '') response.setHeader('etag', tag.now)
    return response.end(`${++count}`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const folders = openFolders()
  const registries = startClient()
  const rootOf = (id: string): string => path.join(folders.root, id)
  const snapshots = {
    begin: async (id: string) => {
      fill(folders.root, { [`${id}/`]: '' })
      return { root: rootOf(id), commit: async () => {}, [Symbol.asyncDispose]: async () => {} }
    },
    remove: async (id: string) => void fill(folders.root, { [`removed-${id}`]: '' }),
  } as unknown as SnapshotStore
  const database = { load: async () => [], write: async () => {} }
  const records = await DownloadRecords.open(database)
  const sources = new RemoteSources({
    ...{ snapshots, registries, records, root: folders.folder() },
    clientsOf: () => ({ secret: async () => undefined, agent: async () => undefined }),
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`
  const operation: SourceOperation & { kind: 'http' } = { kind: 'http', url, filename: '' }
  const vertex = { digest: digestOf('vertex'), operation } as unknown as Vertex
  const work = (...builds: BuildContext[]): Work => ({
    ...{ vertex, signal, report: silent, builds: () => builds },
  })
  const idOf = ({ layers: [layer] }: Tree): string => (layer?.kind === 'snapshot' ? layer.id : '')
  return {
    ...{ sources, operation, work, tag },
    textOf: (tree: Tree) => readFileSync(path.join(rootOf(idOf(tree)), 'file'), 'utf8'),
    isRemoved: (tree: Tree) => existsSync(path.join(folders.root, `removed-${idOf(tree)}`)),
    removed: () => readdirSync(folders.root).filter(name => name.startsWith('removed-')).length,
    [Symbol.asyncDispose]: async () => {
      await registries[Symbol.asyncDispose]()
      await new Promise(resolve => server.close(resolve))
      await folders[Symbol.asyncDispose]()
    },
  }
}

test('a step takes what its key was made of, whatever another build has found since', async () => {
  await using stage = await start()
  const { sources, operation, work } = stage
  const [one, two] = [build('one'), build('two')]
  const first = await sources.identify(operation, work(one))
  const second = await sources.identify(operation, work(two))
  assert.notEqual(first, second)
  assert.equal(stage.textOf(await sources.run(operation, work(one))), '1')
  assert.equal(stage.textOf(await sources.run(operation, work(two))), '2')
})

test('what no step took goes with the last build that it was found for', async () => {
  await using stage = await start()
  const { sources, operation, work } = stage
  const [one, two] = [build('one'), build('two')]
  await sources.identify(operation, work(one, two))
  await sources.identify(operation, work(two))
  await sources.ended(one)
  assert.equal(stage.removed(), 0)
  const taken = await sources.run(operation, work(two))
  await sources.ended(two)
  assert.deepEqual([stage.textOf(taken), stage.isRemoved(taken), stage.removed()], ['1', false, 1])
})

test('what a server says is still the same does not come again, and has the same key', async () => {
  await using stage = await start()
  const { sources, operation, work, tag } = stage
  tag.now = '"one"'
  const first = await sources.identify(operation, work(build('one')))
  assert.equal(stage.textOf(await sources.run(operation, work(build('one')))), '1')
  assert.equal(await sources.identify(operation, work(build('two'))), first)
  tag.now = '"two"'
  // Its result was pruned meanwhile, and the server has another file: that is none of this key.
  await assert.rejects(sources.run(operation, work(build('two'))), /it has changed between two requests/)
  assert.equal(stage.removed(), 1)
  assert.notEqual(await sources.identify(operation, work(build('three'))), first)
})
