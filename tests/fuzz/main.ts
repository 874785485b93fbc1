import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { monitorBinary } from '../../src/runtime/monitorRig.ts'
import { startDaemon } from '../harness/daemon.ts'
import { projectRoot } from '../harness/images.ts'
import { newRandom } from '../harness/random.ts'
import { targets } from './decoders.ts'
import { fuzzDecoder, type Outcome } from './fuzzDecoder.ts'
import { fuzzHttp } from './httpFront.ts'

/** `scripts/fuzz [--minutes N] [--seed S] [TARGET…]` */

type Run = (seed: number, milliseconds: number) => Promise<Outcome>

const http: Run = async (seed, milliseconds) => {
  const daemon = await startDaemon()
  try {
    await daemon.loadBusybox()
    return await fuzzHttp(daemon, newRandom(seed), milliseconds)
  } finally {
    await daemon.close()
  }
}

/** The monitor's own parsers, built with the sanitizers. */
const monitor: Run = async (seed, milliseconds) => {
  const binary = monitorBinary('-parsers')
  const end = Date.now() + milliseconds
  let calls = 0
  for (let turn = seed % 1_000_000; Date.now() < end; turn++) {
    try {
      execFileSync(binary, [String(turn), '20000'], { encoding: 'utf8', stdio: 'pipe' })
      calls += 20_000
    } catch (error) {
      const input = Buffer.from(`${path.relative(projectRoot, binary)} ${turn} 20000`)
      return { calls, failure: { input, text: String(error) } }
    }
  }
  return { calls }
}

const runs: Readonly<Record<string, Run>> = {
  http,
  monitor,
  ...Object.fromEntries(
    Object.keys(targets).map(name => [name, (seed: number, ms: number) => fuzzDecoder(name, seed, ms)]),
  ),
}

/** The door gets a share of four, having the most behind it. */
const shareOf = (name: string): number => (name === 'http' ? 4 : 1)

const kept = path.join(projectRoot, '.cache/fuzz')

const report = (name: string, { calls, failure }: Outcome): boolean => {
  if (!failure) {
    console.log(`${name}: ${calls} inputs, no failure`)
    return true
  }
  mkdirSync(kept, { recursive: true })
  const file = path.join(kept, `${name}-${Date.now()}`)
  writeFileSync(file, failure.input)
  console.log(`${name}: FAILED after ${calls} inputs: ${failure.text}\nthe input is in ${file}`)
  return false
}

const main = async (): Promise<void> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string' } },
  })
  const names = positionals.length > 0 ? positionals : Object.keys(runs)
  const unknown = names.find(name => !runs[name])
  const minutes = Number(values.minutes)
  const { seed } = newRandom(values.seed === undefined ? undefined : Number(values.seed))
  if (unknown !== undefined || !(minutes > 0) || !Number.isSafeInteger(seed)) {
    console.error(
      `usage: scripts/fuzz [--minutes N] [--seed S] [TARGET…]\ntargets: ${Object.keys(runs).join(' ')}`,
    )
    process.exitCode = 2
    return
  }
  console.log(`seed ${seed}, ${minutes} min for ${names.join(' ')}`)
  const total = names.reduce((sum, name) => sum + shareOf(name), 0)
  for (const name of names) {
    const outcome = await (runs[name] as Run)(seed, (minutes * 60_000 * shareOf(name)) / total)
    if (!report(name, outcome)) process.exitCode = 1
  }
}

await main()
