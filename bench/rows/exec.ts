import { execTrue, remove, runSleeper } from '../acts.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { RowGroup } from '../types.ts'

const warmups = 10

/** `exec ID true`: against dockerd, and against the runtime alone. */
export const execRows: RowGroup = async bench => {
  const [ours, peer, floor] = [await bench.ours(), await bench.peer(), await bench.floor()]
  const used = floor.runtimes[0] ?? ''
  const held = await Promise.all([ours, peer].map(engine => runSleeper(engine.socket)))
  const daemons = [ours, peer].map(({ name, group, socket }, index) => ({
    name,
    group,
    once: () => execTrue(socket, held[index] ?? ''),
  }))
  const samples = await interleave(
    [...daemons, { name: used, group: floor.group, once: () => floor.exec(used) }],
    bench.rounds,
    warmups,
  )
  await Promise.all([ours, peer].map((engine, index) => remove(engine.socket, held[index] ?? '')))
  const pair = { name: 'exec true', ours: 'berth' }
  return [
    compareCpu(samples, { ...pair, theirs: used, limit: atMost(1.25) }),
    compareWall(samples, { ...pair, theirs: used }),
    compareCpu(samples, { ...pair, theirs: 'dockerd' }),
    compareWall(samples, { ...pair, theirs: 'dockerd' }),
  ]
}
