import { create, load, remove } from '../acts.ts'
import { call } from '../client.ts'
import { filesArchive } from '../images.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { RowGroup } from '../types.ts'

/** A new volume filled from an image with many small files, by the creation of a container. */
export const copyUpRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const file = await filesArchive()
  for (const { socket } of engines) await load(socket, file)
  const contenders = engines.map(({ name, group, socket }) => ({
    name,
    group,
    once: async () => {
      const from = performance.now()
      const id = await create(socket, { image: 'bench-files:latest', binds: ['bench-volume:/modules'] })
      const wall = performance.now() - from
      await remove(socket, id)
      await call(socket, 'DELETE /volumes/bench-volume')
      return wall
    },
  }))
  const samples = await interleave(contenders, bench.rounds)
  const pair = { name: 'copy-up of 49,000 files', ours: 'berth', theirs: 'dockerd' }
  return [compareWall(samples, { ...pair, limit: atMost(0.7) }), compareCpu(samples, pair)]
}
