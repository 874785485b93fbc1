import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageConfig } from '../../oci/image.ts'
import { GraphBuilder } from '../graph/builder.ts'
import { readAttributes } from './attributes.ts'
import { type FrontendError, type FrontendHost, planPlatforms } from './frontend.ts'

const base: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  config: { Env: ['PATH=/bin'] },
  rootfs: { type: 'layers', diff_ids: [] },
}

type Folders = Record<string, Record<string, string>>

/** Folders of the client, by name, and of what is fetched, by the address. */
const hostOf = (folders: Folders, fetched: Folders = {}) => {
  const steps: string[] = []
  const notices: string[] = []
  const host: FrontendHost = {
    session: 's',
    inputs: {},
    readFiles: async ({ folder, paths, step }) => {
      steps.push(step)
      const found = folders[folder] ?? {}
      return new Map(paths.flatMap(path => (path in found ? [[path, found[path] ?? '']] : [])))
    },
    readResult: async (graph, paths, { beginning } = {}) => {
      const sources = [...graph.vertices.values()].map(({ operation }) =>
        operation.kind === 'git' ? operation.remote : operation.kind === 'http' ? operation.url : 'unpacked',
      )
      const found = fetched[sources.at(-1) ?? ''] ?? {}
      return new Map(
        paths.flatMap(name =>
          found[name] === undefined
            ? []
            : [[name, Buffer.from(found[name], 'latin1').subarray(0, beginning)]],
        ),
      )
    },
    outside: {
      image: async () => ({ config: base }),
      layout: async () => ({ config: base }),
      ignoreFile: async () => '',
      sourceDate: async () => undefined,
    },
    notice: text => notices.push(text),
  }
  return { host, steps, notices }
}

const folders = (dockerfile: string, more: Record<string, string> = {}) => ({
  dockerfile: { Dockerfile: dockerfile, ...more },
  context: { '.dockerignore': 'left\n# no\n' },
})

test('one plan for each platform, with what is left out of the context', async () => {
  const { host, steps } = hostOf(folders('FROM base\nCOPY . /app\n'))
  const { plans } = await planPlatforms(readAttributes({ platform: 'linux/amd64,linux/arm64' }), host)
  assert.deepEqual(
    plans.map(({ platform }) => platform),
    ['linux/amd64', 'linux/arm64'],
  )
  const operations = [...(plans[0]?.plan.graph.vertices.values() ?? [])].map(vertex => vertex.operation)
  assert.deepEqual(operations.find(operation => operation.kind === 'local')?.exclude, ['left'])
  assert.deepEqual(steps, [
    '[internal] load build definition from Dockerfile',
    '[internal] load .dockerignore',
  ])
})

test('a file of its own says what is left out for one Dockerfile, and a lower-case one is found', async () => {
  const { host } = hostOf({
    dockerfile: { dockerfile: 'FROM base\nCOPY . /', 'Dockerfile.dockerignore': 'own' },
    context: { '.dockerignore': 'left' },
  })
  const { plans } = await planPlatforms(readAttributes({}), host)
  const operations = [...(plans[0]?.plan.graph.vertices.values() ?? [])].map(vertex => vertex.operation)
  assert.deepEqual(operations.find(operation => operation.kind === 'local')?.exclude, ['own'])
})

test('what is wrong is told with the file that it is in', async () => {
  const { host } = hostOf(folders('FROM base\nRUM make\n'))
  await assert.rejects(planPlatforms(readAttributes({}), host), (error: FrontendError) => {
    assert.match(error.message, /unknown instruction: RUM/)
    assert.equal(error.ranges[0]?.start.line, 2)
    assert.equal(error.source.text, 'FROM base\nRUM make\n')
    return true
  })
  await assert.rejects(
    planPlatforms(readAttributes({}), hostOf({}).host),
    /failed to read dockerfile: open Dockerfile: no such file or directory/,
  )
})

test('Docker’s frontends are built in, others are refused', async () => {
  const { host, notices } = hostOf(folders('# syntax=docker/dockerfile:1.7-labs\nFROM base\n'))
  await planPlatforms(readAttributes({}), host)
  assert.deepEqual(notices, ['docker/dockerfile:1.7-labs: the built-in Dockerfile frontend is used'])
  await assert.rejects(
    planPlatforms(readAttributes({ 'build-arg:BUILDKIT_SYNTAX': 'example.com/other' }), host),
    /the frontend example.com\/other .* is not built|not implemented/i,
  )
})

const contextOf = async (context: string, fetched: Folders, more: Record<string, string> = {}) => {
  const { host } = hostOf(folders('FROM base AS local\nCOPY . /local\n'), fetched)
  const planned = await planPlatforms(readAttributes({ context, ...more }), host)
  const operations = [...(planned.plans[0]?.plan.graph.vertices.values() ?? [])].map(
    ({ operation }) => operation,
  )
  return { text: planned.source.text, fileName: planned.source.fileName, operations }
}

const remoteFile = 'FROM base\nCOPY . /app\n'

test('a repository has the Dockerfile, and what is copied', async () => {
  const fetched = { 'git://host/repo': { Dockerfile: remoteFile, 'other/file': remoteFile } }
  const { text, operations } = await contextOf('git://host/repo#main:folder', fetched)
  assert.equal(text, remoteFile)
  assert.deepEqual(
    operations.flatMap(operation =>
      operation.kind === 'git' ? [[operation.ref, operation.subdirectory]] : [],
    ),
    [['main', 'folder']],
  )
  assert.ok(!operations.some(({ kind }) => kind === 'local'))
  const other = await contextOf('git://host/repo', fetched, { filename: 'other/file' })
  assert.equal(other.fileName, 'other/file')
  const own = await contextOf('git://host/repo', fetched, { dockerfilekey: 'dockerfile' })
  assert.match(own.text, /AS local/)
  await assert.rejects(contextOf('git://host/none', fetched), /open Dockerfile: no such file or directory/)
})

test('a download is the Dockerfile, unless it is an archive', async () => {
  const url = 'http://host/file'
  const plain = await contextOf(url, { [url]: { context: remoteFile } })
  assert.deepEqual([plain.text, plain.fileName], [remoteFile, 'context'])
  const packed = await contextOf(url, {
    [url]: { context: '\x1f\x8b\x08 and so on' },
    unpacked: { Dockerfile: remoteFile },
  })
  assert.deepEqual([packed.text, packed.fileName], [remoteFile, 'Dockerfile'])
  assert.ok(packed.operations.some(({ kind }) => kind === 'http'))
})

test('a context that the client has made is where the Dockerfile is, and what is copied', async () => {
  const url = 'https://host/files'
  const { host, steps } = hostOf({}, { [url]: { Dockerfile: 'FROM base\nCOPY a /a\n' } })
  const builder = new GraphBuilder()
  const operation = { kind: 'http', url, filename: 'context' } as const
  const platform = { os: 'linux', architecture: 'amd64' }
  const graph = builder.graph(builder.add({ operation, inputs: [], platform, step: { name: 'x' } }))
  host.inputs = { context: { graph }, dockerfile: { graph } }
  const { plans } = await planPlatforms(readAttributes({}), host)
  const kinds = [...(plans[0]?.plan.graph.vertices.values() ?? [])].map(vertex => vertex.operation.kind)
  assert.deepEqual(kinds.sort(), ['file', 'http'])
  assert.deepEqual(steps, [])
  host.inputs = { context: { graph: { vertices: new Map(), result: undefined } }, dockerfile: { graph } }
  const { plans: emptied } = await planPlatforms(readAttributes({}), host)
  assert.equal(emptied[0]?.plan.graph.vertices.size, 2)
})
