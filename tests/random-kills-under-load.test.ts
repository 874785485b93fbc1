import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxArchive } from './harness/images.ts'
import { newRandom, type Random } from './harness/random.ts'
import { type Outcome, until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/**
 * The daemon is killed again and again, also while it starts, under a load of
 * parallel clients. Whatever a client was told must be true, then and at the end.
 */
const kills = Number(process.env['BERTH_TEST_KILLS'] ?? 50)
const workers = 4

/** What the clients were told of one container. */
interface Told {
  name: string
  /** Undefined while a client's connection was cut, so that nobody knows. */
  exists: boolean | undefined
  /** What its process ends with; undefined for one that runs until it is killed. */
  code: number | undefined
  started: boolean
}

/** The client lost the daemon: then it may not know what became of its request. */
const lostDaemon = (outcome: Outcome): boolean =>
  /EOF|error during connect|Cannot connect|connection reset|broken pipe|context canceled|unexpected end|Unable to attach|connection refused/i.test(
    outcome.stderr,
  )

class Worker {
  readonly containers: Told[] = []
  readonly #daemon: TestDaemon
  readonly #random: Random
  readonly #prefix: string
  #count = 0

  constructor(daemon: TestDaemon, random: Random, prefix: string) {
    this.#daemon = daemon
    this.#random = random
    this.#prefix = prefix
  }

  async work(goOn: () => boolean): Promise<void> {
    while (goOn()) {
      const verb = this.#random.pick([
        'create',
        'create',
        'start',
        'start',
        'exec',
        'stop',
        'rm',
        'run',
        'load',
      ])
      if (verb === 'create') await this.#create()
      else if (verb === 'run') await this.#run()
      else if (verb === 'load') await this.#daemon.docker(['load', '-q', '-i', await busyboxArchive()])
      else await this.#change(verb)
    }
  }

  async #create(): Promise<void> {
    const ends = this.#random.below(2) === 0
    const code = ends ? 1 + this.#random.below(100) : undefined
    const command = ends ? ['sh', '-c', `exit ${code}`] : ['sleep', '1000']
    const told: Told = { name: `${this.#prefix}${this.#count++}`, exists: undefined, code, started: false }
    this.containers.push(told)
    const options = this.#random.pick([[], ['-v', '/data'], ['-P', '--expose', '80']])
    const outcome = await this.#daemon.docker([
      'create',
      '--name',
      told.name,
      ...options,
      'busybox',
      ...command,
    ])
    if (outcome.code === 0) told.exists = true
    else assert.ok(lostDaemon(outcome), `create: ${outcome.stderr}`)
  }

  async #run(): Promise<void> {
    const code = 1 + this.#random.below(100)
    const outcome = await this.#daemon.docker(['run', '--rm', 'busybox', 'sh', '-c', `exit ${code}`])
    if (!lostDaemon(outcome)) assert.equal(outcome.code, code, outcome.stderr)
  }

  async #change(verb: string): Promise<void> {
    const known = this.containers.filter(container => container.exists)
    if (known.length === 0) return
    const told = this.#random.pick(known)
    if (verb === 'rm') await this.#remove(told)
    else if (verb === 'start') await this.#start(told)
    else if (verb === 'exec') await this.#exec(told)
    else if (told.started) await this.#daemon.docker(['stop', '-t', '0', told.name])
  }

  async #remove(told: Told): Promise<void> {
    told.exists = undefined
    const outcome = await this.#daemon.docker(['rm', '-f', '-v', told.name])
    if (outcome.code === 0) told.exists = false
    else assert.ok(lostDaemon(outcome), `rm: ${outcome.stderr}`)
  }

  async #start(told: Told): Promise<void> {
    const outcome = await this.#daemon.docker(['start', told.name])
    if (outcome.code === 0) told.started = true
    else assert.ok(lostDaemon(outcome), `start: ${outcome.stderr}`)
  }

  async #exec(told: Told): Promise<void> {
    if (!told.started || told.code !== undefined) return
    const code = 1 + this.#random.below(100)
    const outcome = await this.#daemon.docker(['exec', told.name, 'sh', '-c', `exit ${code}`])
    // 255 where the client lost the daemon, 126 where it was never started, 137 where somebody stopped the container, 1 where it does not run.
    // 127 also where it ended just then, and the runtime found no process of it any more: its shell is there always.
    const ended = outcome.code === 127 && !/executable file/.test(outcome.stdout)
    const fair =
      [code, 126, 137, 255].includes(outcome.code) || ended || /is not running/.test(outcome.stderr)
    assert.ok(
      fair || lostDaemon(outcome),
      `exec: ${outcome.code} for ${code}: ${outcome.stdout}${outcome.stderr}`,
    )
  }
}

const kill = async (daemon: TestDaemon, random: Random): Promise<void> => {
  await sleep(random.below(1000))
  await daemon.kill()
  if (random.below(4) === 0) {
    await daemon.start({ wait: false })
    await sleep(random.below(1200))
    await daemon.kill()
  }
  await daemon.start()
}

const check = async (daemon: TestDaemon, told: Told): Promise<void> => {
  const found = await inspected(daemon, told.name)
  if (told.exists !== undefined) assert.equal(found !== undefined, told.exists, `${told.name} exists`)
  if (!found || !told.started) return
  if (told.code === undefined) {
    if (found.State.Status !== 'running') assert.equal(found.State.ExitCode, 137, told.name)
    return
  }
  await until(
    `${told.name} ended`,
    async () => (await inspected(daemon, told.name))?.State.Status === 'exited',
  )
  assert.equal((await inspected(daemon, told.name))?.State.ExitCode, told.code, told.name)
}

test(`${kills} kills of the daemon under load lose nothing and tell no lie`, async context => {
  const random = newRandom()
  context.diagnostic(`seed ${random.seed}: repeat with BERTH_TEST_SEED=${random.seed}`)
  const daemon = await startDaemon()
  try {
    await daemon.loadBusybox()
    let going = true
    const crew = Array.from({ length: workers }, (_, index) => new Worker(daemon, random, `w${index}-`))
    const load = Promise.all(crew.map(worker => worker.work(() => going)))
    load.catch(() => {
      going = false
    })
    for (let count = 0; count < kills && going; count++) await kill(daemon, random)
    going = false
    await load
    await audit(daemon, `seed ${random.seed}`)
    for (const worker of crew) for (const told of worker.containers) await check(daemon, told)
  } finally {
    await daemon.close()
  }
})
