import { create, inParallel, remove, runAndRemove, runSleeper } from '../acts.ts'
import { call, json } from '../client.ts'
import { atMost, compare, median, plain, timed } from '../measure.ts'
import { type Ours, residentOf } from '../ours.ts'
import type { Row, RowGroup } from '../types.ts'

/**
 * What a thousand running and ten thousand stopped containers cost those who
 * want one of them: everything but an answer that grows by itself is to be as
 * with ten.
 */
const few = 10
const atOnce = 8

interface Sizes {
  running: number
  stopped: number
}

/** A quick bench measures a tenth. */
const sizesFor = (rounds: number): Sizes =>
  rounds > 3 ? { running: 1000, stopped: 10_000 } : { running: 100, stopped: 1000 }

const times = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** What is done in one turn is short: so many make one figure. */
const repeats = 20

/** The end of an exec is told at once; the journal's last second is read back. */
const recentEvents = async (socket: string, id: string): Promise<void> => {
  const now = Date.now() / 1000
  const filters = encodeURIComponent(JSON.stringify({ container: [id] }))
  await call(socket, `GET /events?since=${now - 1}&until=${now}&filters=${filters}`)
}

const acts: Record<string, (socket: string, id: string) => Promise<unknown>> = {
  inspect: (socket, id) => call(socket, `GET /containers/${id}/json`),
  'ps of one name': (socket, id) =>
    call(socket, `GET /containers/json?filters=${encodeURIComponent(JSON.stringify({ id: [id] }))}`),
  'ps of the last ten': socket => call(socket, 'GET /containers/json?limit=10'),
  events: recentEvents,
  'one more run': socket => runAndRemove(socket),
}

const measure = async (ours: Ours, id: string, rounds: number): Promise<Map<string, number>> => {
  const medians = new Map<string, number>()
  for (const [name, act] of Object.entries(acts)) {
    const walls: number[] = []
    for (let round = -1; round < rounds; round++) {
      const wall = await timed(async () => {
        for (let count = 0; count < repeats; count++) await act(ours.socket, id)
      })
      if (round >= 0) walls.push(wall / repeats)
    }
    medians.set(name, median(walls))
  }
  return medians
}

/** Milliseconds for each container of the answer. */
const listing = async (ours: Ours, query: string, count: number): Promise<number> => {
  const walls: number[] = []
  for (let round = 0; round < 5; round++)
    walls.push(await timed(() => json(ours.socket, `GET /containers/json?${query}`)))
  return median(walls) / count
}

export const scaleRows: RowGroup = async bench => {
  const ours = await bench.ours()
  const { socket } = ours
  const sizes = sizesFor(bench.rounds)
  const ids = await inParallel(times(few), atOnce, () => runSleeper(socket))
  const id = ids[0] ?? ''
  const small = await measure(ours, id, bench.rounds)
  const smallListing = await listing(ours, '', few)
  bench.say(`making ${sizes.running} running and ${sizes.stopped} stopped containers`)
  ids.push(...(await inParallel(times(sizes.stopped), atOnce, () => create(socket, {}))))
  ids.push(...(await inParallel(times(sizes.running - few), atOnce, () => runSleeper(socket))))
  const large = await measure(ours, id, bench.rounds)
  const rows: Row[] = [...large].map(([name, wall]) =>
    compare({
      name: `${name}, ${sizes.running} running and ${sizes.stopped} stopped`,
      measure: 'wall',
      ours: wall,
      against: `with ${few}`,
      theirs: small.get(name) ?? Number.NaN,
      unit: 'ms',
      limit: atMost(1.2),
    }),
  )
  rows.push(
    compare({
      name: 'ps, for each container that it lists',
      measure: 'wall',
      ours: await listing(ours, '', sizes.running),
      against: `with ${few}`,
      theirs: smallListing,
      unit: 'ms',
      limit: atMost(1.2),
    }),
  )
  const { now } = residentOf(ours.daemon.pid)
  rows.push(plain('daemon with all these', 'RSS MiB', now))
  const back: number[] = []
  for (let round = 0; round < Math.min(bench.rounds, 3); round++) back.push(await timed(() => ours.restart()))
  rows.push(plain('daemon killed and back with all these', 's', median(back) / 1000, atMost(5)))
  await inParallel(ids, 50, each => remove(socket, each))
  return rows
}
