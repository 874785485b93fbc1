import { must } from '../../tests/harness/shell.ts'
import { execTrue, inParallel, remove, runSleeper, start } from '../acts.ts'
import { beginWait, call, json, openStream } from '../client.ts'
import { compare, median, timed } from '../measure.ts'
import type { Row, RowGroup } from '../types.ts'

/** The daemon is killed and started with 100 containers running; then all that clients do works again. */
const mustHold = (what: string, holds: boolean): void => {
  if (!holds) throw new Error(`after the restart ${what} does not work`)
}

const checkAll = async (socket: string, ids: string[]): Promise<void> => {
  const [attachedId = '', stoppedId = ''] = ids
  const running = await json<unknown[]>(socket, 'GET /containers/json')
  mustHold('ps', running.length >= ids.length)
  await execTrue(socket, attachedId)
  const { end } = await openStream(socket, `POST /containers/${attachedId}/attach?stream=1&stdout=1`)
  const { exit: killed } = await beginWait(socket, attachedId, 'not-running')
  await call(socket, `POST /containers/${attachedId}/kill`)
  mustHold('wait', (await killed) === 137)
  await end
  const { exit } = await beginWait(socket, stoppedId, 'not-running')
  await call(socket, `POST /containers/${stoppedId}/stop?t=1`)
  mustHold('stop', (await exit) === 137)
  await start(socket, attachedId)
  await start(socket, stoppedId)
}

export const restartRows: RowGroup = async bench => {
  const ours = await bench.ours()
  const ids = await inParallel(Array.from({ length: 100 }), 8, () => runSleeper(ours.socket))
  const bare: number[] = []
  const back: number[] = []
  for (let round = 0; round < bench.rounds; round++) {
    bare.push(await timed(() => must([process.execPath, '-e', '0'])))
    back.push(await timed(() => ours.restart()))
    await checkAll(ours.socket, ids)
  }
  await inParallel(ids, 8, id => remove(ours.socket, id))
  const row: Row = compare({
    name: 'daemon killed and back, 100 running',
    measure: 'wall',
    ours: median(back),
    against: 'node -e 0',
    theirs: median(bare),
    unit: 'ms',
  })
  return [row]
}
