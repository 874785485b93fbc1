import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { readTar } from '../src/archive/reader.ts'
import type { TarEntry } from '../src/archive/types.ts'
import { readCases, writeContext } from './buildCases.ts'
import type { Client } from './client.ts'
import { explainedBuilds } from './explainedBuilds.ts'
import { mask } from './mask.ts'

/** Builds the same Dockerfiles with both, and compares what images say and hold: each field, each entry of each layer. */

type Json = Record<string, unknown>

interface Saved {
  config: Json
  /** A line an entry, by layer. */
  layers: string[][]
}

const bytesOf = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/** BuildKit's places for its files of a step make /etc anew in each layer. */
const isOfMounts = ({ name, type }: TarEntry): boolean => text(name) === 'etc' && type === 'directory'

/** Times of the build itself are none of the image's. `begun` in nanoseconds. */
const linesOf = async (layer: Buffer, begun: bigint): Promise<string[]> => {
  const lines: string[] = []
  for await (const { entry, body } of readTar(Readable.from([layer]))) {
    const bytes = await bytesOf(body)
    const sum = bytes.length > 0 ? createHash('sha256').update(bytes).digest('hex').slice(0, 12) : ''
    const { name, linkName, type, mode, uid, gid, mtime, xattrs } = entry
    // BuildKit's are whole seconds.
    const time = mtime >= begun - 2_000_000_000n ? 'now' : String(mtime)
    const attributes = [...xattrs.keys()].join(',')
    const device = `${entry.deviceMajor}:${entry.deviceMinor}`
    if (isOfMounts(entry)) continue
    if (/(^|\/)\.wh\./.test(text(name))) lines.push(text(name))
    else
      lines.push(
        `${text(name)} ${type} ${mode.toString(8)} ${uid}:${gid} ${time} ${text(linkName)} ${sum} ${attributes} ${device}`,
      )
  }
  return lines.sort()
}

const readSaved = async (archive: string, begun: bigint): Promise<Saved> => {
  const files = new Map<string, Buffer>()
  for await (const { entry, body } of readTar(createReadStream(archive)))
    files.set(text(entry.name), await bytesOf(body))
  const json = (name: string): unknown => JSON.parse(files.get(name)?.toString() ?? 'null')
  const [manifest] = json('manifest.json') as { Config: string; Layers: string[] }[]
  const layers = (manifest?.Layers ?? []).map(name => linesOf(files.get(name) ?? Buffer.alloc(0), begun))
  return { config: json(manifest?.Config ?? '') as Json, layers: await Promise.all(layers) }
}

/** Without what differs in each build. */
const told = ({ config, layers }: Saved): string => {
  const { created: _created, rootfs: _rootfs, ...rest } = config
  const history = (config['history'] as Json[]).map(({ created: _when, ...entry }) => entry)
  const fields = JSON.stringify(
    { ...rest, history },
    (_key, value: unknown) =>
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    1,
  )
  return [fields, ...layers.map((lines, index) => `layer ${index}\n${lines.join('\n')}`)].join('\n')
}

/** Why it failed, without what was done before. */
const failure = (stderr: string): string =>
  mask(stderr)
    .split('\n')
    .filter(line => /^(ERROR|error)|^Dockerfile:|^ *(>>>|\d+ \|)/.test(line))
    .join('\n')

const build = async (client: Client, number: number, options: string[]): Promise<string> => {
  const begun = BigInt(Date.now()) * 1_000_000n
  const name = `parity-${number}`
  const outcome = await client.run(`docker build --progress=plain -t ${name} ${options.join(' ')} .`)
  if (outcome.code !== 0) return `exit ${outcome.code}\n${failure(outcome.stderr)}`
  const archive = path.join(client.folder, `saved-${name}.tar`)
  await client.run(`docker save -o ${archive} ${name} && docker rmi ${name}`)
  return told(await readSaved(archive, begun))
}

const differences = (mine: string, theirs: string): string => {
  const [a, b] = [mine.split('\n'), theirs.split('\n')]
  const [inA, inB] = [new Set(a), new Set(b)]
  return [
    ...a.filter(line => !inB.has(line)).map(line => `    berth    ${line}`),
    ...b.filter(line => !inA.has(line)).map(line => `    buildkit ${line}`),
  ].join('\n')
}

/** Gives how many differ in what is not explained. */
export const compareBuilds = async (ours: Client, theirs: Client, grep: string): Promise<number> => {
  let unexplained = 0
  const cases = readCases(grep)
  for (const client of [ours, theirs]) {
    mkdirSync(client.folder, { recursive: true })
    writeContext(client.folder)
  }
  for (const [number, { name, options, dockerfile }] of cases.entries()) {
    for (const client of [ours, theirs]) writeFileSync(path.join(client.folder, 'Dockerfile'), dockerfile)
    const [mine = '', other = ''] = await Promise.all([
      build(ours, number, options),
      build(theirs, number, options),
    ])
    if (mine === other || explainedBuilds.some(({ line }) => line.test(name))) continue
    unexplained++
    process.stdout.write(`${name}\n${differences(mine, other) || '    another order'}\n\n`)
  }
  process.stdout.write(`${cases.length} builds, ${unexplained} with a difference that is not explained\n`)
  return unexplained
}
