import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startBeside } from '../../tests/harness/beside.ts'
import { clientPath, writeClientConfig } from '../../tests/harness/daemon.ts'
import { projectRoot } from '../../tests/harness/images.ts'
import { must } from '../../tests/harness/shell.ts'
import { inParallel, remove, runSleeper } from '../acts.ts'
import { Growth } from '../growth.ts'
import { atMost, type Contender, compareCpu, compareWall, interleave, timed } from '../measure.ts'
import type { Bench, Engine, Row, RowGroup } from '../types.ts'

/** `docker build` itself, client and all, against BuildKit in dockerd. */

const lightSteps = Array.from({ length: 8 }, (_, index) => `RUN echo ${index} > /step-${index}`)
const twelveSteps = [
  'FROM busybox',
  'COPY first.js /app/',
  ...lightSteps,
  'COPY . /app/',
  'RUN ls /app > /list',
]

const filesOfFolder = 100

interface Context {
  path: string
  /** Bytes of each file. */
  size: number
}

const writeContext = ({ path: root, size }: Context, files: number, dockerfile: readonly string[]): void => {
  mkdirSync(root, { recursive: true })
  for (let index = 0; index < files; index++) {
    const folder = path.join(root, `folder-${Math.floor(index / filesOfFolder)}`)
    if (index % filesOfFolder === 0) mkdirSync(folder)
    writeFileSync(path.join(folder, `file-${index}`), randomBytes(size))
  }
  writeFileSync(path.join(root, 'first.js'), 'first\n')
  writeFileSync(path.join(root, 'Dockerfile'), `${dockerfile.join('\n')}\n`)
}

class Builds implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'berth-bench-build-'))
  readonly #config = path.join(this.folder, 'config')
  #count = 0

  constructor() {
    writeClientConfig(this.#config)
  }

  context(files: number, size: number, dockerfile: readonly string[]): Context {
    const context = { path: path.join(this.folder, `context-${this.#count++}`), size }
    writeContext(context, files, dockerfile)
    return context
  }

  /** Under a path that no engine knows; its files are the same ones. */
  async renamed({ path: from, size }: Context): Promise<Context> {
    const to = path.join(this.folder, `context-${this.#count++}`)
    await must(['cp', '-al', from, to])
    return { path: to, size }
  }

  /** Something in it is new. */
  touch({ path: root }: Context): void {
    writeFileSync(path.join(root, 'last.js'), `${this.#count++}\n`)
  }

  /** Gives milliseconds. */
  build({ socket }: Engine, context: Context, ...options: string[]): Promise<number> {
    const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: this.#config }
    return timed(() =>
      must([clientPath(), 'build', '-q', '-t', 'bench-build', ...options, context.path], { env }),
    )
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

type Act = (engine: Engine) => Promise<number>

/** Makes nothing of what the client tells it. */
const idle = 'the client alone'

interface Measured {
  name: string
  act: Act
  rounds: number
  /** Of the wall and the CPU time that the peer takes. */
  limits: { wall: number; cpu?: number }
}

/** Against the peer, and against a server that builds nothing: less than that no builder can take. */
const measure = async (bench: Bench, { name, act, rounds, limits }: Measured): Promise<Row[]> => {
  const ours = await bench.ours()
  const file = path.join(projectRoot, 'bench/idleBuilder.ts')
  await using nothing = await startBeside(ours.namespace, file, '')
  const engines: Engine[] = [ours, await bench.peer(), { ...ours, name: idle, socket: nothing.first }]
  const contenders: Contender[] = engines.map(engine => ({
    ...{ name: engine.name, group: engine.group },
    once: () => act(engine),
  }))
  const samples = await interleave(contenders, rounds)
  const pair = { name, ours: 'berth', theirs: 'dockerd' }
  return [
    compareWall(samples, { ...pair, limit: atMost(limits.wall) }),
    compareCpu(samples, { ...pair, ...(limits.cpu === undefined ? {} : { limit: atMost(limits.cpu) }) }),
    compareWall(samples, { ...pair, theirs: idle }),
  ]
}

/** Twelve steps, a context of 2,000 files: all cached, one file changed, none cached. */
export const buildStepsRows: RowGroup = async bench => {
  using builds = new Builds()
  const rows: Row[] = []
  const acts: [string, Act][] = []
  const still = builds.context(2000, 2000, twelveSteps)
  acts.push(['build of 12 steps, cached', engine => builds.build(engine, still)])
  const changing = builds.context(2000, 2000, twelveSteps)
  acts.push([
    'build of 12 steps, one file changed',
    engine => {
      builds.touch(changing)
      return builds.build(engine, changing)
    },
  ])
  const light = builds.context(2000, 2000, twelveSteps)
  acts.push(['build of 12 steps, from nothing', engine => builds.build(engine, light, '--no-cache')])
  const limits = { wall: 0.5, cpu: 0.25 }
  for (const [name, act] of acts)
    rows.push(...(await measure(bench, { name, act, rounds: bench.rounds, limits })))
  return rows
}

/** A context of 200 MB in 20,000 files, most of the time the client's own walk. */
export const buildContextRows: RowGroup = async bench => {
  using builds = new Builds()
  const copies = ['FROM busybox', 'COPY . /app/']
  const large = builds.context(20_000, 10_000, copies)
  const excluded = builds.context(20_000, 10_000, copies)
  writeFileSync(path.join(excluded.path, '.dockerignore'), 'folder-*\n')
  const acts: [string, Act, number][] = [
    ['first', async engine => builds.build(engine, await builds.renamed(large)), 0.6],
    ['unchanged', engine => builds.build(engine, large), 0.8],
    ['excluded', engine => builds.build(engine, excluded), 0.6],
  ]
  const rows: Row[] = []
  const rounds = Math.min(bench.rounds, 5)
  for (const [what, act, wall] of acts) {
    const name = `build of 20,000 files, 200 MB, ${what}`
    rows.push(...(await measure(bench, { name, act, rounds, limits: { wall } })))
  }
  return rows
}

/** What the daemon grows by with a context of 1 GB. */
export const buildMemoryRows: RowGroup = async bench => {
  using builds = new Builds()
  const ours = await bench.ours()
  const context = builds.context(100, 10_000_000, ['FROM busybox', 'COPY . /app/'])
  const growth = await Growth.start(ours)
  await growth.during(ours, () => builds.build(ours, context))
  return [growth.row('build with a context of 1 GB')]
}

const beside = 300

/** The same build alone and beside containers that run. */
export const buildBesideRows: RowGroup = async bench => {
  using builds = new Builds()
  const ours = await bench.ours()
  const context = builds.context(2000, 2000, twelveSteps)
  const measure = async (name: string) =>
    await interleave(
      [{ name, group: ours.group, once: () => builds.build(ours, context, '--no-cache') }],
      bench.rounds,
    )
  const alone = await measure('alone')
  const ids = await inParallel(Array(beside).fill(0), 8, () => runSleeper(ours.socket))
  const crowded = await measure('beside 300')
  await inParallel(ids, 8, id => remove(ours.socket, id))
  return [
    compareWall(new Map([...alone, ...crowded]), {
      ...{ name: 'build beside 300 containers', ours: 'beside 300', theirs: 'alone' },
      limit: atMost(1.1),
    }),
  ]
}
