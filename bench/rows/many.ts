import { inParallel, remove, runAndRemove, runSleeper } from '../acts.ts'
import { atMost, compareCpu, compareWall, interleave, median, timed } from '../measure.ts'
import type { Engine, Row, RowGroup } from '../types.ts'

/** A hundred containers: started 8 at a time, a run beside them, removed all together. */
const hundred = Array.from({ length: 100 }, (_, index) => index)
const startsAtOnce = 8
/** As many as the docker client removes at a time. */
const removalsAtOnce = 50
const runsBeside = 5

const runs = async (engine: Engine): Promise<number> => {
  const walls: number[] = []
  for (let count = 0; count < runsBeside; count++) walls.push(await timed(() => runAndRemove(engine.socket)))
  return median(walls)
}

export const manyRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const alone: number[] = []
  const beside: number[] = []
  const contenders = engines.flatMap(engine => {
    const { name, group, socket } = engine
    let ids: string[] = []
    const start = async (): Promise<number> => {
      if (name === 'berth') alone.push(await runs(engine))
      const wall = await timed(async () => {
        ids = await inParallel(hundred, startsAtOnce, () => runSleeper(socket))
      })
      if (name === 'berth') beside.push(await runs(engine))
      return wall
    }
    return [
      { name: `${name} start`, group, once: start },
      {
        name: `${name} rm`,
        group,
        once: () => timed(() => inParallel(ids, removalsAtOnce, id => remove(socket, id))),
      },
    ]
  })
  const samples = await interleave(contenders, bench.rounds)
  const row = (verb: string, what: string) => ({
    name: what,
    ours: `berth ${verb}`,
    theirs: `dockerd ${verb}`,
  })
  const starts = row('start', '100 starts, 8 at a time')
  const removals = row('rm', 'rm -f of 100')
  // The first round warms up.
  const [none, many] = [median(alone.slice(1)), median(beside.slice(1))]
  const growth: Row = {
    name: 'a run beside 100',
    measure: 'wall',
    ours: `${many.toFixed(1)} ms`,
    against: `beside none ${none.toFixed(1)} ms`,
    figure: many / none,
    limit: atMost(1.1),
  }
  return [
    compareWall(samples, { ...starts, limit: atMost(0.4) }),
    compareCpu(samples, starts),
    compareWall(samples, { ...removals, limit: atMost(0.4) }),
    compareCpu(samples, removals),
    growth,
  ]
}
