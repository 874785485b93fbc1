import { create, load, remove } from '../acts.ts'
import { call } from '../client.ts'
import { filesArchive } from '../images.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { Engine, RowGroup } from '../types.ts'

/**
 * New volumes filled from an image with many small files, by the creation of a container. They stay until the end: ext4
 * looks at each inode that was freed in the last minutes before it takes another, which then is most of the time.
 */
export const copyUpRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const file = await filesArchive()
  for (const { socket } of engines) await load(socket, file)
  const made: { socket: string; name: string }[] = []
  const fill = async ({ socket }: Engine): Promise<number> => {
    const name = `bench-volume-${made.length}`
    const from = performance.now()
    const id = await create(socket, { image: 'bench-files:latest', binds: [`${name}:/modules`] })
    const wall = performance.now() - from
    made.push({ socket, name })
    await remove(socket, id)
    return wall
  }
  const contenders = engines.map(engine => ({
    name: engine.name,
    group: engine.group,
    once: () => fill(engine),
  }))
  const samples = await interleave(contenders, bench.rounds)
  for (const { socket, name } of made) await call(socket, `DELETE /volumes/${name}`)
  const pair = { name: 'copy-up of 49,000 files', ours: 'berth', theirs: 'dockerd' }
  return [compareWall(samples, { ...pair, limit: atMost(0.7) }), compareCpu(samples, pair)]
}
