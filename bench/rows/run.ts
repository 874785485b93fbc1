import { runAndRemove } from '../acts.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { RowGroup } from '../types.ts'

/** A daemon that has just been started is not what people wait for. */
const warmups = 5

/** `run --rm busybox true` on the default bridge: against dockerd, and against the runtime alone. */
export const runRows: RowGroup = async bench => {
  const [ours, peer, floor] = [await bench.ours(), await bench.peer(), await bench.floor()]
  const daemons = [ours, peer].map(({ name, group, socket }) => ({
    name,
    group,
    once: () => runAndRemove(socket),
  }))
  const floors = floor.runtimes.map(runtime => ({
    name: runtime,
    group: floor.group,
    once: () => floor.run(runtime),
  }))
  const samples = await interleave([...daemons, ...floors], bench.rounds, warmups)
  const pair = { name: 'run --rm busybox true', ours: 'berth' }
  const used = floor.runtimes[0] ?? ''
  return [
    compareWall(samples, { ...pair, theirs: 'dockerd', limit: atMost(0.4) }),
    compareCpu(samples, { ...pair, theirs: 'dockerd', limit: atMost(0.25) }),
    compareCpu(samples, { ...pair, theirs: used, limit: atMost(2) }),
    ...floor.runtimes.map(theirs => compareWall(samples, { ...pair, theirs })),
  ]
}
