import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { NameServer } from '../../tests/harness/nameServer.ts'
import { must } from '../../tests/harness/shell.ts'
import { create, remove, start } from '../acts.ts'
import { call, json } from '../client.ts'
import { atLeast, compare, interleave, median } from '../measure.ts'
import type { Engine, Limit, Row, RowGroup } from '../types.ts'

/** Names that a container asks for at 127.0.0.11: of another container, of the world, and past a server that is dead. */

interface Kind {
  name: string
  /** Which container asks. */
  asker: 'well' | 'halfDead'
  /** Asked for each time; else names that nobody asked for before. */
  own?: boolean
  count: number
  width: number
  limit?: Limit
}

const halfDead = { asker: 'halfDead', limit: atLeast(10) } as const
const kinds: Kind[] = [
  { name: "another container's name", asker: 'well', own: true, count: 2000, width: 1, limit: atLeast(1.5) },
  {
    name: "another container's name, 16 at once",
    asker: 'well',
    own: true,
    count: 8000,
    width: 16,
    limit: atLeast(1.5),
  },
  { name: 'names of the world', asker: 'well', count: 1000, width: 1 },
  { name: 'names of the world, 16 at once', asker: 'well', count: 4000, width: 16 },
  // The peer waits seconds for the dead one, each time.
  { name: 'names, the first server dead', ...halfDead, count: 3, width: 1 },
  { name: 'names, the first server dead, 16 at once', ...halfDead, count: 32, width: 16 },
]

const client = fileURLToPath(new URL('../namesClient.ts', import.meta.url))
/** Of the host's own, since the peer asks from within the container. */
const [liveAddress, deadAddress] = ['10.53.0.1', '10.53.0.2']
const network = 'bench-names'

interface Asker {
  ask(kind: Kind): Promise<number>
  close(): Promise<void>
}

const pidOf = async (socket: string, id: string): Promise<number> =>
  (await json<{ State: { Pid: number } }>(socket, `GET /containers/${id}/json`)).State.Pid

/** Two name servers on an engine's host, and two containers that know one or both. */
const prepare = async ({ socket, namespace }: Engine): Promise<Asker> => {
  await using ends = new AsyncDisposableStack()
  for (const address of [liveAddress, deadAddress])
    await must(['ip', '-n', path.basename(namespace), 'addr', 'add', `${address}/32`, 'dev', 'lo'])
  ends.use(await NameServer.start(namespace, liveAddress, 'answers'))
  ends.use(await NameServer.start(namespace, deadAddress, 'drops'))
  await call(socket, 'POST /networks/create', { body: { Name: network } })
  ends.defer(async () => void (await call(socket, `DELETE /networks/${network}`)))
  const run = async (dns: string[]): Promise<{ id: string; pid: number }> => {
    const id = await create(socket, { command: ['sleep', '100000'], network, dns })
    ends.defer(async () => void (await remove(socket, id)))
    await start(socket, id)
    return { id, pid: await pidOf(socket, id) }
  }
  const well = await run([liveAddress])
  const askers = { well: well.pid, halfDead: (await run([deadAddress, liveAddress])).pid }
  let asked = 0
  const kept = ends.move()
  return {
    ask: async ({ asker, own, count, width }) => {
      const prefix = own ? `${well.id.slice(0, 12)}.` : `n${asked++}-`
      const inside = ['nsenter', '-t', String(askers[asker]), '--net']
      return Number(await must([...inside, process.execPath, client, prefix, String(count), String(width)]))
    },
    close: () => kept.disposeAsync(),
  }
}

export const nameRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const sides: Asker[] = []
  try {
    for (const engine of engines) sides.push(await prepare(engine))
    const rows: Row[] = []
    for (const kind of kinds) {
      const contenders = engines.map(({ name, group }, index) => ({
        name,
        group,
        once: () => sides[index]?.ask(kind) ?? Promise.reject(new Error('no side')),
      }))
      const samples = await interleave(contenders, bench.rounds)
      const rate = (subject: string): number =>
        kind.count / (median((samples.get(subject) ?? []).map(({ wall }) => wall)) / 1000)
      const [measure, against] = ['names/s', 'dockerd']
      const figures = { unit: measure, ours: rate('berth'), against, theirs: rate(against) }
      rows.push(
        compare({ name: kind.name, measure, ...figures, ...(kind.limit ? { limit: kind.limit } : {}) }),
      )
    }
    return rows
  } finally {
    for (const side of sides) await side.close()
  }
}
