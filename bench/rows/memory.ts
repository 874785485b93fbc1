import { inParallel, remove, runSleeper } from '../acts.ts'
import { atMost, median, plain } from '../measure.ts'
import { pssOf } from '../ours.ts'
import type { RowGroup } from '../types.ts'

/** What the daemon and a container's monitor hold, in MiB of proportional set size. */
export const memoryRows: RowGroup = async bench => {
  const ours = await bench.ours()
  await ours.restart()
  const idle = pssOf(ours.daemon.pid)
  const known = new Set(ours.monitors())
  const ids = await inParallel(Array.from({ length: 100 }), 8, () => runSleeper(ours.socket))
  const monitors = ours
    .monitors()
    .filter(pid => !known.has(pid))
    .map(pssOf)
  const running = pssOf(ours.daemon.pid)
  await inParallel(ids, 8, id => remove(ours.socket, id))
  return [
    plain('a container beside its workload', 'PSS MiB', median(monitors), atMost(0.5)),
    plain('daemon idle', 'PSS MiB', idle, atMost(120)),
    plain('daemon with 100 running', 'PSS MiB', running, atMost(150)),
  ]
}
