import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import type { TestDaemon } from '../harness/daemon.ts'
import { dockerArchive, file } from '../harness/images.ts'
import type { Random } from '../harness/random.ts'
import { until } from '../harness/shell.ts'
import { mutated } from './mutate.ts'

/**
 * The daemon's door, given what is no request, or nearly one: it answers below
 * 500 (501 and 503 say what is not there) or closes, goes on serving, and keeps
 * its memory and its descriptors.
 */

const head = (line: string, headers: readonly string[] = []): string =>
  `${line} HTTP/1.1\r\nHost: docker\r\n${headers.map(header => `${header}\r\n`).join('')}\r\n`

const withBody = (line: string, body: string | Buffer, type = 'application/json'): Buffer => {
  const bytes = Buffer.from(body as string)
  return Buffer.concat([
    Buffer.from(head(line, [`Content-Type: ${type}`, `Content-Length: ${bytes.length}`])),
    bytes,
  ])
}

const chunked = (line: string, body: string): Buffer => {
  const chunks = [body.slice(0, 7), body.slice(7)].map(
    chunk => `${Buffer.byteLength(chunk).toString(16)};a=b\r\n${chunk}\r\n`,
  )
  return Buffer.from(
    `${head(line, ['Content-Type: application/json', 'Transfer-Encoding: chunked'])}${chunks.join('')}0\r\nTrailer: x\r\n\r\n`,
  )
}

const create =
  '{"Image":"busybox","Cmd":["true"],"Env":["A=b"],"Labels":{"a":"b"},"HostConfig":{"Memory":67108864}}'
const filters = encodeURIComponent('{"label":["a=b"],"name":{"c":true}}')
const upgrade = ['Connection: Upgrade', 'Upgrade: tcp']
const socket = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

/** Requests of every kind; `fuzzed` is a container that does not run. */
const seedRequests = async (): Promise<Buffer[]> => {
  const archive = await dockerArchive([{ tags: ['fuzzed:latest'], layers: [[file('a', 'b')]] }])
  const layer = archive.subarray(0, 1024)
  const texts = [
    ...[
      '/_ping',
      '/version',
      '/info',
      '/system/df',
      '/events?since=0&until=1',
      '/containers/fuzzed/json?size=1',
    ],
    ...[
      '/containers/fuzzed/logs?stdout=1&tail=3',
      '/images/busybox/json',
      '/containers/fuzzed/archive?path=/etc',
    ],
    ...[`/containers/json?filters=${filters}&limit=3`, `/images/json?filters=${filters}`],
    ...[`/networks?filters=${filters}`, `/v1.40/volumes?filters=${filters}`, '/berth/v1/operations'],
  ].map(url => head(`GET ${url}`))
  const others = [
    ...[
      '/containers/fuzzed/stop?t=0',
      '/containers/fuzzed/kill?signal=HUP',
      '/containers/fuzzed/resize?h=1&w=2',
    ],
    ...[
      '/containers/fuzzed/rename?name=fuzzed',
      '/images/busybox/tag?repo=a/b&tag=c',
      '/commit?container=fuzzed',
    ],
  ].map(url => head(`POST ${url}`, ['Content-Length: 0']))
  return [
    ...[...texts, ...others].map(text => Buffer.from(text)),
    Buffer.from(head('POST /containers/fuzzed/attach?logs=1&stream=1&stdout=1', upgrade)),
    Buffer.from(head('GET /containers/fuzzed/attach/ws?logs=1', socket)),
    Buffer.from(`${head('POST /exec/nothing/start', [...upgrade, 'Content-Length: 2'])}{}`),
    withBody('POST /v1.45/containers/create?name=made', create),
    chunked('POST /containers/create', create),
    withBody('POST /networks/create', '{"Name":"fuzzed-net","IPAM":{"Config":[{"Subnet":"10.9.0.0/24"}]}}'),
    withBody('POST /volumes/create', '{"Name":"fuzzed-vol","Driver":"local"}'),
    withBody('POST /containers/fuzzed/exec', '{"Cmd":["true"]}'),
    withBody('POST /containers/fuzzed/update', '{"Memory":67108864}'),
    withBody('POST /images/load', archive, 'application/x-tar'),
    withBody('POST /images/load', gzipSync(archive), 'application/x-tar'),
    withBody('PUT /containers/fuzzed/archive?path=/tmp', layer, 'application/x-tar'),
    withBody('POST /auth', '{"username":"a","serveraddress":"127.0.0.1:1"}'),
    Buffer.from(`GET /_ping HTTP/1.1\r\nHost: docker\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`),
    Buffer.from(head('GET /_ping').repeat(20)),
    Buffer.from(`${head('HEAD /_ping')}${head('GET /_ping', ['Connection: close'])}`),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from('\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03'),
  ]
}

const answerMost = 8 * 1024 * 1024

/** What has answered and is silent is a stream that waits for what its container does: its client leaves. */
const silence = 200
const patience = 20_000

/** Sends the bytes, in two pieces, and no more; gives what came back. Rejects where the daemon neither answers nor closes. */
const exchange = (target: string, bytes: Buffer, random: Random): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const connection = connect({ path: target, allowHalfOpen: true })
    const parts: Buffer[] = []
    let length = 0
    const leave = (): unknown => connection.destroy()
    let timer = setTimeout(() => {
      reject(new Error(`the daemon neither answered nor closed within ${patience / 1000} s`))
      leave()
    }, patience)
    connection.on('data', (chunk: Buffer) => {
      clearTimeout(timer)
      timer = setTimeout(leave, silence)
      parts.push(chunk)
      length += chunk.length
      if (length > answerMost) leave()
    })
    connection.on('error', leave)
    connection.on('end', leave)
    connection.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(parts))
    })
    const cut = random.below(bytes.length + 1)
    connection.write(bytes.subarray(0, cut))
    connection.end(bytes.subarray(cut))
  })

const statusForm = /HTTP\/1\.1 (\d{3}) /g

/** As Docker: what a registry's name leads to is the host's to know, and here leads nowhere. */
const unreachable = /lookup \S+: no answer of the name servers/

const badStatus = (answer: Buffer): string | undefined =>
  unreachable.test(answer.toString('latin1')) ? undefined : badStatusOf(answer)

const badStatusOf = (answer: Buffer): string | undefined =>
  [...answer.toString('latin1').matchAll(statusForm)]
    .map(([, status = '']) => status)
    .find(status => Number(status) >= 500 && !['501', '503'].includes(status))

const memoryOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024

const descriptorsOf = (pid: number): number => readdirSync(path.join('/proc', String(pid), 'fd')).length

/** MiB above what the daemon had: many times what one request may take. */
const memoryMost = 400
const descriptorsMost = 30

const madeByIt = [
  '/containers/prune',
  '/networks/prune',
  '/volumes/prune?filters=%7B%22all%22%3A%5B%221%22%5D%7D',
]

/** What requests made, and what they may have renamed or removed. */
const reset = async (daemon: TestDaemon): Promise<void> => {
  for (const url of madeByIt) await daemon.api('POST', url)
  const { status } = await daemon.api('GET', '/containers/fuzzed/json')
  if (status === 200) return
  const busybox = await daemon.api('GET', '/images/busybox/json')
  if (busybox.status !== 200) await daemon.loadBusybox()
  await daemon.json('POST', '/containers/create?name=fuzzed', { Image: 'busybox', Cmd: ['true'] })
}

export interface HttpOutcome {
  calls: number
  failure?: { input: Uint8Array; text: string }
}

const checkDaemon = async (
  daemon: TestDaemon,
  before: { memory: number; descriptors: number },
): Promise<void> => {
  if ((await daemon.ping()) !== 200) throw new Error('the daemon does not answer any more')
  const memory = memoryOf(daemon.pid) - before.memory
  if (memory > memoryMost) throw new Error(`the daemon has ${Math.round(memory)} MiB more than before`)
  await until(
    'the descriptors were closed',
    () => descriptorsOf(daemon.pid) <= before.descriptors + descriptorsMost,
  )
}

/** Runs for so many milliseconds against a daemon that has busybox. */
export const fuzzHttp = async (
  daemon: TestDaemon,
  random: Random,
  duration: number,
): Promise<HttpOutcome> => {
  const seeds = await seedRequests()
  await reset(daemon)
  for (const seed of seeds)
    await exchange(daemon.socket, seed, random).catch(error => {
      throw new Error(`${error}: ${seed.subarray(0, 200).toString('latin1')}`)
    })
  const before = { memory: memoryOf(daemon.pid), descriptors: descriptorsOf(daemon.pid) }
  const end = Date.now() + duration
  let calls = 0
  for (; Date.now() < end; calls++) {
    const input = mutated(seeds, random)
    try {
      const answer = await exchange(daemon.socket, input, random)
      const status = badStatus(answer)
      if (status) throw new Error(`answered ${status}: ${answer.toString('latin1').slice(0, 1000)}`)
      if (calls % 200 === 199) {
        await reset(daemon)
        await checkDaemon(daemon, before)
      }
    } catch (error) {
      const log = daemon.log.split('\n').slice(-5).join('\n')
      return { calls, failure: { input, text: `${String(error)}\n${log}` } }
    }
  }
  await checkDaemon(daemon, before)
  return { calls }
}
