import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { directory, file, projectRoot } from '../../tests/harness/images.ts'
import { must } from '../../tests/harness/shell.ts'
import { load, pull, push, removeImage, save, tagImage } from '../acts.ts'
import { Growth } from '../growth.ts'
import { builtArchive, filesArchive, halfPacked, largeArchive, modules } from '../images.ts'
import {
  atMost,
  type Contender,
  compare,
  compareCpu,
  compareWall,
  interleave,
  medianOf,
  timed,
} from '../measure.ts'
import { filledStorage, type RegistryImage, registryAddress, serveStorage } from '../registry.ts'
import type { Bench, Engine, Row, RowGroup } from '../types.ts'

/** Images from and to a registry, which has no part in the CPU time. */

interface Pulled {
  name: string
  /** Of the registry's folder. */
  key: string
  repository: string
  /** Each turn's own, so that no engine unpacks into what was freed a moment ago. */
  images: (turns: number) => RegistryImage[]
  wall: number
}

const layerCount = 12
const filesOfLayer = 3_334

const manyLayers: Pulled = {
  name: 'pull of 12 layers, 40,000 files',
  key: 'layers',
  repository: 'bench/layers',
  images: turns =>
    Array.from({ length: turns }, (_, turn) => ({
      repository: 'bench/layers',
      tag: `turn-${turn}`,
      layers: Array.from({ length: layerCount }, (_, layer) => () => [
        ...modules(layer * filesOfLayer, filesOfLayer),
        file(`turn-${layer}`, String(turn)),
      ]),
    })),
  wall: 0.5,
}

const one =
  (key: string, content: () => ReturnType<typeof file>): Pulled['images'] =>
  turns =>
    Array.from({ length: turns }, (_, turn) => ({
      repository: `bench/${key}`,
      tag: `turn-${turn}`,
      layers: [() => [directory('data'), content()]],
    }))

const packed: Pulled = {
  name: 'pull of one layer, 98 MB packed',
  key: 'packed',
  repository: 'bench/packed',
  images: one('packed', () => halfPacked('data/file', 195_000_000)),
  wall: 0.9,
}

const large: Pulled = {
  name: 'pull of one layer, 500 MB',
  key: 'large',
  repository: 'bench/large',
  images: one('large', () => file('data/file', randomBytes(500_000_000))),
  wall: 0.9,
}

/** The least that a pull can take: each layer by curl, gunzip and tar, one after the other. */
const byHand = async (bench: Bench, pulled: Pulled): Promise<Contender & { close(): void }> => {
  const floor = await bench.floor()
  const ours = await bench.ours()
  const folder = mkdtempSync(path.join(projectRoot, '.cache/bench/by-hand-'))
  const script = `
set -e
base=http://${registryAddress}/v2/${pulled.repository}
curl -s "$base/manifests/$1" -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' |
  grep -o '"digest":"sha256:[0-9a-f]*"' | cut -d'"' -f4 | tail -n +2 |
  while read -r digest; do mkdir -p "$2/$digest"; curl -s "$base/blobs/$digest" | gunzip | tar -x -C "$2/$digest"; done`
  let turn = 0
  return {
    name: 'by hand',
    group: floor.group,
    once: async () => {
      const target = path.join(folder, String(turn))
      const tag = `turn-${turn++}`
      await floor.inGroup(() =>
        must(['nsenter', `--net=${ours.namespace}`, 'sh', '-c', script, 'pull', tag, target]),
      )
    },
    close: () => rmSync(folder, { recursive: true }),
  }
}

const warmups = 1

const pullRows = async (bench: Bench, pulled: Pulled): Promise<Row[]> => {
  const ours = await bench.ours()
  const engines = [ours, await bench.peer()]
  const turns = bench.rounds + warmups
  const storage = await filledStorage(`${pulled.key}-${turns}`, () => pulled.images(turns))
  await using registries = new AsyncDisposableStack()
  for (const { namespace } of engines) registries.use(await serveStorage(namespace, storage))
  const growth = await Growth.start(ours)
  const repository = `${registryAddress}/${pulled.repository}`
  const contenders = engines.map((engine): Contender => {
    let turn = 0
    return {
      name: engine.name,
      group: engine.group,
      once: () => {
        const tag = `turn-${turn++}`
        return growth.during(engine, () => pull(engine.socket, repository, tag))
      },
    }
  })
  const hand = await byHand(bench, pulled)
  const samples = await interleave([...contenders, hand], bench.rounds, warmups)
  for (const { socket } of engines)
    for (let turn = 0; turn < turns; turn++) await removeImage(socket, `${repository}:turn-${turn}`)
  hand.close()
  const pair = { name: pulled.name, ours: 'berth', theirs: 'dockerd' }
  return [
    compareWall(samples, { ...pair, limit: atMost(pulled.wall) }),
    compareCpu(samples, pair),
    compare({
      name: pulled.name,
      measure: 'CPU',
      ours: medianOf(samples, 'berth', 'cpu'),
      against: 'curl, gunzip, tar',
      theirs: medianOf(samples, 'by hand', 'cpu'),
      unit: 'ms',
      limit: atMost(1.5),
    }),
    growth.row(pulled.name),
  ]
}

export const pullLayersRows: RowGroup = bench => pullRows(bench, manyLayers)
export const pullPackedRows: RowGroup = bench => pullRows(bench, packed)
export const pullLargeRows: RowGroup = bench => pullRows(bench, large)

/** An image that was just loaded, into an empty registry. */
export const pushRows: RowGroup = async bench => {
  const ours = await bench.ours()
  const engines = [ours, await bench.peer()]
  const archive = await builtArchive()
  const growth = await Growth.start(ours)
  const folder = mkdtempSync(path.join(projectRoot, '.cache/bench/pushed-'))
  const repository = `${registryAddress}/bench/built`
  const turn = async (engine: Engine): Promise<number> => {
    const storage = path.join(folder, engine.name)
    mkdirSync(storage)
    const { socket } = engine
    await load(socket, archive)
    await tagImage(socket, 'bench-built:latest', repository, 'new')
    const wall = await (async () => {
      await using _registry = await serveStorage(engine.namespace, storage)
      return await timed(() => growth.during(engine, () => push(socket, repository, 'new')))
    })()
    await removeImage(socket, `${repository}:new`)
    await removeImage(socket, 'bench-built:latest')
    rmSync(storage, { recursive: true })
    return wall
  }
  const contenders = engines.map(engine => ({
    name: engine.name,
    group: engine.group,
    once: () => turn(engine),
  }))
  const samples = await interleave(contenders, bench.rounds)
  rmSync(folder, { recursive: true })
  const name = 'push of new layers, 120 MB'
  const pair = { name, ours: 'berth', theirs: 'dockerd' }
  return [compareWall(samples, { ...pair, limit: atMost(0.7) }), growth.row(name)]
}

/** `save`, of many small files and of one large layer. */
export const saveRows: RowGroup = async bench => {
  const ours = await bench.ours()
  const engines = [ours, await bench.peer()]
  const rows: Row[] = []
  for (const [what, image, archive] of [
    ['49,000 files', 'bench-files:latest', filesArchive],
    ['one 500 MB layer', 'bench-large:latest', largeArchive],
  ] as const) {
    const growth = await Growth.start(ours)
    const file = await archive()
    for (const { socket } of engines) await load(socket, file)
    const contenders = engines.map(engine => ({
      name: engine.name,
      group: engine.group,
      once: async () => void (await growth.during(engine, () => save(engine.socket, image))),
    }))
    const samples = await interleave(contenders, bench.rounds)
    for (const { socket } of engines) await removeImage(socket, image)
    const pair = { name: `save of ${what}`, ours: 'berth', theirs: 'dockerd' }
    rows.push(
      compareWall(samples, { ...pair, limit: atMost(0.8) }),
      compareCpu(samples, pair),
      growth.row(pair.name),
    )
  }
  return rows
}
