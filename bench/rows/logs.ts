import { create, load, remove, removeImage, start } from '../acts.ts'
import { beginWait, json, openStream } from '../client.ts'
import { lineCount, linesArchive } from '../images.ts'
import { atLeast, compare, interleave, medianOf } from '../measure.ts'
import type { Engine, Limit, Row, RowGroup, Sample } from '../types.ts'

/** Half a million lines of 80 bytes: into the log, out of it, and to an attached client. */
const image = 'bench-lines:latest'
const repeatsWithoutLog = 4

const attachUrl = (id: string): string => `POST /containers/${id}/attach?stream=1&stdout=1&stderr=1`

interface Times {
  State: { StartedAt: string; FinishedAt: string }
}

/** The time that the engine itself saw the process live: what comes before and after is not writing. */
const writes = async ({ socket }: Engine): Promise<{ id: string; wall: number }> => {
  const id = await create(socket, { image, command: ['cat', '/lines'] })
  const { exit } = await beginWait(socket, id, 'next-exit')
  await start(socket, id)
  await exit
  const { State } = await json<Times>(socket, `GET /containers/${id}/json`)
  return { id, wall: Date.parse(State.FinishedAt) - Date.parse(State.StartedAt) }
}

const readsBack = async ({ socket }: Engine, id: string): Promise<void> => {
  const bytes = await (await openStream(socket, `GET /containers/${id}/logs?stdout=1&stderr=1`)).end
  if (bytes < lineCount * 80) throw new Error(`the log came back with ${bytes} bytes`)
}

const attached = async ({ socket }: Engine, options: { log: string; repeats: number }): Promise<number> => {
  const command = ['cat', ...Array.from({ length: options.repeats }, () => '/lines')]
  const id = await create(socket, { image, command, log: options.log })
  const { end } = await openStream(socket, attachUrl(id))
  await start(socket, id)
  const from = performance.now()
  const bytes = await end
  const wall = performance.now() - from
  if (bytes < lineCount * 80 * options.repeats) throw new Error(`${bytes} bytes came by ${options.log}`)
  await remove(socket, id)
  return wall
}

const contendersOf = (engine: Engine) => {
  const { name, group, socket } = engine
  let logged = ''
  return [
    {
      name: `${name} write`,
      group,
      once: async () => {
        if (logged !== '') await remove(socket, logged)
        const { id, wall } = await writes(engine)
        logged = id
        return wall
      },
    },
    { name: `${name} read`, group, once: () => readsBack(engine, logged) },
    { name: `${name} json`, group, once: () => attached(engine, { log: 'json-file', repeats: 1 }) },
    {
      name: `${name} none`,
      group,
      once: () => attached(engine, { log: 'none', repeats: repeatsWithoutLog }),
    },
  ]
}

const row = (samples: Map<string, Sample[]>, verb: string, of: { name: string; limit: Limit }): Row => {
  const lines = verb === 'none' ? lineCount * repeatsWithoutLog : lineCount
  const rate = (who: string): number => lines / medianOf(samples, `${who} ${verb}`, 'wall')
  return compare({
    ...of,
    measure: 'lines/s',
    ours: rate('berth'),
    against: 'dockerd',
    theirs: rate('dockerd'),
    unit: 'k/s',
  })
}

export const logRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const file = await linesArchive()
  for (const engine of engines) await load(engine.socket, file)
  const samples = await interleave(engines.flatMap(contendersOf), bench.rounds)
  for (const engine of engines) await removeImage(engine.socket, image)
  return [
    row(samples, 'write', { name: 'log lines of 80 bytes written', limit: atLeast(2.5) }),
    row(samples, 'read', { name: 'log read back', limit: atLeast(4) }),
    row(samples, 'json', { name: 'attached stdout, json-file', limit: atLeast(3) }),
    row(samples, 'none', { name: 'attached stdout, log driver none', limit: atLeast(2) }),
  ]
}
