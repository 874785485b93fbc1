import { createReadStream } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { debianImage } from '../../tests/harness/debianImages.ts'
import { joinOtherHost } from '../../tests/harness/otherHost.ts'
import { must, run, until } from '../../tests/harness/shell.ts'
import { create, remove, start } from '../acts.ts'
import { call } from '../client.ts'
import { atLeast, compare, interleave, median } from '../measure.ts'
import type { Engine, Row, RowGroup } from '../types.ts'

/** Another host asks a published port: bytes, requests on connections that stay, and connections. */

const kinds = [
  {
    kind: 'throughput',
    port: 3001,
    name: 'throughput of a published port',
    unit: 'Gbit/s',
    work: 4e9 * 8e-9,
  },
  { kind: 'requests', port: 3000, name: 'requests to a published port', unit: 'requests/s', work: 20_000 },
  {
    kind: 'connects',
    port: 3000,
    name: 'connections to a published port',
    unit: 'connections/s',
    work: 4000,
  },
]

const server = `
require('http').createServer((_, answer) => answer.end('well')).listen(3000)
const zeros = Buffer.alloc(1 << 20)
require('net').createServer(socket => {
  socket.on('error', () => {})
  const push = () => { while (socket.write(zeros)); }
  socket.on('drain', push)
  push()
}).listen(3001)
`

const client = fileURLToPath(new URL('../trafficClient.ts', import.meta.url))

interface Traffic {
  ask(kind: string, port: number): Promise<number>
  close(): Promise<void>
}

const imported = async ({ socket }: Engine): Promise<void> => {
  const { archive } = await debianImage('pages')
  await call(socket, 'POST /images/create?fromSrc=-&repo=bench-node&tag=latest', {
    stream: createReadStream(archive),
  })
}

/** A second host beside an engine's, and a server in a container there. */
const prepare = async (engine: Engine, index: number): Promise<Traffic> => {
  const [near, far] = [`10.98.${index}.1`, `10.98.${index}.2`]
  await imported(engine)
  const other = await joinOtherHost(path.basename(engine.namespace), { near, far })
  const id = await create(engine.socket, {
    ...{ image: 'bench-node:latest', command: ['/usr/bin/node', '-e', server], ports: [3000, 3001] },
  })
  await start(engine.socket, id)
  const outside = ['nsenter', `--net=${other.namespace}`]
  await until('the server answered', async () => {
    const { code } = await run([...outside, 'curl', '-sf', '-m', '2', `http://${near}:3000/`])
    return code === 0
  })
  return {
    ask: async (kind, port) =>
      Number(await must([...outside, process.execPath, client, near, String(port), kind])),
    close: async () => {
      await remove(engine.socket, id)
      await other.close()
    },
  }
}

export const trafficRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const sides: Traffic[] = []
  try {
    for (const [index, engine] of engines.entries()) sides.push(await prepare(engine, index + 1))
    const rows: Row[] = []
    for (const { kind, port, name, unit, work } of kinds) {
      const contenders = engines.map(({ name: subject, group }, index) => ({
        name: subject,
        group,
        once: () => sides[index]?.ask(kind, port) ?? Promise.reject(new Error('no side')),
      }))
      const samples = await interleave(contenders, bench.rounds)
      const rate = (subject: string): number =>
        work / (median((samples.get(subject) ?? []).map(({ wall }) => wall)) / 1000)
      rows.push(
        compare({
          ...{ name, measure: unit, unit, ours: rate('berth'), against: 'dockerd', theirs: rate('dockerd') },
          limit: atLeast(0.97),
        }),
      )
    }
    return rows
  } finally {
    for (const side of sides) await side.close()
  }
}
