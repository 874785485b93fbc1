import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { targets } from './fuzz/decoders.ts'
import { fuzzDecoder } from './fuzz/fuzzDecoder.ts'
import { fuzzHttp } from './fuzz/httpFront.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { newRandom } from './harness/random.ts'

/** A short pass of what `scripts/fuzz` does for an hour. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const told = (failure: { input: Uint8Array; text: string } | undefined): string =>
  failure ? `${failure.text}\ninput, base64: ${Buffer.from(failure.input).toString('base64')}` : ''

test('whatever comes to the door is answered below 500 or closed, and the daemon goes on', async t => {
  const random = newRandom()
  t.diagnostic(`BERTH_TEST_SEED=${random.seed}`)
  const { calls, failure } = await fuzzHttp(daemon, random, 10_000)
  assert.equal(told(failure), '')
  assert.ok(calls > 0)
})

for (const name of Object.keys(targets))
  test(`the decoder of ${name} gives a value or an error of ours`, async t => {
    const { seed } = newRandom()
    t.diagnostic(`BERTH_TEST_SEED=${seed}`)
    const { calls, failure } = await fuzzDecoder(name, seed, 500)
    assert.equal(told(failure), '')
    assert.ok(calls > 0)
  })
