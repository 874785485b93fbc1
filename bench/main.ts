import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { projectRoot } from '../tests/harness/images.ts'
import { type Floor, startFloor } from './floor.ts'
import { removeGroup } from './groups.ts'
import { type Ours, startOurs } from './ours.ts'
import { type Peer, startPeer } from './peer.ts'
import { buildBesideRows, buildContextRows, buildMemoryRows, buildStepsRows } from './rows/build.ts'
import { composeRows } from './rows/compose.ts'
import { execRows } from './rows/exec.ts'
import { loadFilesRows, loadLargeRows } from './rows/load.ts'
import { logRows } from './rows/logs.ts'
import { manyRows } from './rows/many.ts'
import { memoryRows } from './rows/memory.ts'
import { nameRows } from './rows/names.ts'
import { networkRows } from './rows/networks.ts'
import { restartRows } from './rows/restart.ts'
import { runRows } from './rows/run.ts'
import { scaleRows } from './rows/scale.ts'
import { trafficRows } from './rows/traffic.ts'
import { pullLargeRows, pullLayersRows, pullPackedRows, pushRows, saveRows } from './rows/transfer.ts'
import { copyUpRows } from './rows/volumes.ts'
import { misses, tableOf } from './table.ts'
import type { Bench, Row, RowGroup } from './types.ts'

/** `npm run bench [-- [--quick] [--rounds N] GROUP…]`: measures, prints the table, writes `.cache/bench/latest.json`. */
const groups: Record<string, RowGroup> = {
  run: runRows,
  exec: execRows,
  many: manyRows,
  memory: memoryRows,
  logs: logRows,
  'load-files': loadFilesRows,
  'load-large': loadLargeRows,
  'pull-layers': pullLayersRows,
  'pull-packed': pullPackedRows,
  'pull-large': pullLargeRows,
  push: pushRows,
  save: saveRows,
  restart: restartRows,
  networks: networkRows,
  names: nameRows,
  traffic: trafficRows,
  'copy-up': copyUpRows,
  compose: composeRows,
  'build-steps': buildStepsRows,
  'build-context': buildContextRows,
  'build-memory': buildMemoryRows,
  'build-beside': buildBesideRows,
  scale: scaleRows,
}

interface Choice {
  rounds: number
  names: string[]
}

const choose = (args: readonly string[]): Choice => {
  const choice: Choice = { rounds: 10, names: [] }
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (arg === '--quick') choice.rounds = 3
    else if (arg === '--rounds') choice.rounds = Number(args[++index])
    else if (arg in groups) choice.names.push(arg)
    else
      throw new Error(`unknown group ${arg}: use --quick, --rounds N, or ${Object.keys(groups).join(', ')}`)
  }
  if (choice.names.length === 0) choice.names = Object.keys(groups)
  return choice
}

/** Starts each subject when it is first asked for, and ends all in the opposite order. */
class Subjects implements Bench {
  readonly rounds: number
  readonly #base = `berth-bench-${randomBytes(3).toString('hex')}`
  readonly #ends: (() => Promise<void>)[] = []
  #ours: Promise<Ours> | undefined
  #peer: Promise<Peer> | undefined
  #floor: Promise<Floor> | undefined

  constructor(rounds: number) {
    this.rounds = rounds
  }

  ours(): Promise<Ours> {
    this.#ours ??= this.#owned(startOurs(this.#base))
    return this.#ours
  }

  peer(): Promise<Peer> {
    this.#peer ??= this.#owned(startPeer(this.#base))
    return this.#peer
  }

  floor(): Promise<Floor> {
    this.#floor ??= this.ours().then(ours => this.#owned(startFloor(this.#base, ours)))
    return this.#floor
  }

  say(text: string): void {
    process.stderr.write(`${text}\n`)
  }

  async #owned<T extends { close(): Promise<void> }>(starting: Promise<T>): Promise<T> {
    const subject = await starting
    this.#ends.push(() => subject.close())
    return subject
  }

  async close(): Promise<void> {
    for (const end of this.#ends.toReversed()) await end()
    removeGroup(this.#base)
  }
}

const facts = (): object => ({
  time: new Date().toISOString(),
  kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
  node: process.version,
})

const write = (rounds: number, rows: readonly Row[]): void => {
  const folder = path.join(projectRoot, '.cache/bench')
  mkdirSync(folder, { recursive: true })
  const marked = rows.map(row => ({ ...row, missed: misses(row) }))
  writeFileSync(
    path.join(folder, 'latest.json'),
    `${JSON.stringify({ ...facts(), rounds, rows: marked }, null, 2)}\n`,
  )
}

const main = async (): Promise<void> => {
  const { rounds, names } = choose(process.argv.slice(2))
  const subjects = new Subjects(rounds)
  const rows: Row[] = []
  const leave = (): void => {
    // Daemons and namespaces of a run that was broken off must not stay.
    void subjects.close().finally(() => process.exit(1))
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, leave)
  try {
    for (const name of names) {
      subjects.say(`bench: ${name}`)
      try {
        rows.push(...((await groups[name]?.(subjects)) ?? []))
      } catch (error) {
        // One group that fails must not cost the figures of the others.
        subjects.say(`bench: ${name} failed: ${error instanceof Error ? error.stack : String(error)}`)
        rows.push({ name, measure: 'failed', ours: '', against: '', figure: undefined })
      }
    }
  } finally {
    await subjects.close()
  }
  write(rounds, rows)
  process.stdout.write(`${tableOf(rows)}\n`)
}

await main()
process.exit(0)
