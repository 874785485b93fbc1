import { load, removeImage } from '../acts.ts'
import { Growth } from '../growth.ts'
import { filesArchive, largeArchive } from '../images.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { Limit, Row, RowGroup } from '../types.ts'

/** `load`: of many small files, and of one large layer. The image is removed before the next turn. */
const loadRows =
  (of: { name: string; image: string; archive: () => Promise<string>; limit: Limit }): RowGroup =>
  async bench => {
    const ours = await bench.ours()
    const engines = [ours, await bench.peer()]
    const growth = await Growth.start(ours)
    const file = await of.archive()
    const contenders = engines.map(engine => ({
      name: engine.name,
      group: engine.group,
      once: async () => {
        const from = performance.now()
        await growth.during(engine, () => load(engine.socket, file))
        const wall = performance.now() - from
        await removeImage(engine.socket, of.image)
        return wall
      },
    }))
    const samples = await interleave(contenders, bench.rounds)
    const pair = { name: of.name, ours: 'berth', theirs: 'dockerd' }
    const rows: Row[] = [
      compareWall(samples, { ...pair, limit: of.limit }),
      compareCpu(samples, pair),
      growth.row(of.name),
    ]
    return rows
  }

export const loadFilesRows = loadRows({
  name: 'load of 49,000 files',
  image: 'bench-files:latest',
  archive: filesArchive,
  limit: atMost(0.7),
})

export const loadLargeRows = loadRows({
  name: 'load of one 500 MB layer',
  image: 'bench-large:latest',
  archive: largeArchive,
  limit: atMost(0.9),
})
