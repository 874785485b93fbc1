import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { monitorBinary } from './monitorRig.ts'

/** Bounded: some seconds under the sanitizers. BERTH_FUZZ_ROUNDS asks for more. */
const rounds = process.env['BERTH_FUZZ_ROUNDS'] ?? '10000'

test("the monitor's parsers hold their promises on random and mutated bytes", t => {
  const binary = monitorBinary('-parsers')
  const seeds = ['1', '2', String(Date.now() % 1_000_000)]
  for (const seed of seeds) {
    t.diagnostic(`seed ${seed}, ${rounds} rounds`)
    assert.equal(execFileSync(binary, [seed, rounds], { encoding: 'utf8' }), 'all promises held\n')
  }
})
