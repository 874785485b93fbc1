import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fixedWidth } from '../../../core/clock.ts'
import { lastLines } from './lastLines.ts'

const at = (second: number): string => fixedWidth(BigInt(second) * 1_000_000_000n)
const line = (second: number, text = `line ${second}`): string =>
  `${JSON.stringify({ log: `${text}\n`, stream: 'stdout', time: at(second) })}\n`
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => line(from + index)).join('')

describe('the last lines of a span of time', () => {
  let folder: string
  let log: string
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'berth-log-'))
    log = path.join(folder, 'c-json.log')
    // Some megabytes: more than is looked at for one answer.
    writeFileSync(`${log}.0`, lines(0, 1000))
    writeFileSync(log, lines(1000, 60_000))
    writeFileSync(`${log}.seq`, '1')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const found = async (since: number, until: number, count = 3): Promise<string[]> =>
    (await lastLines(log, { since: at(since), until: at(until) }, count)).map(({ log: text }) => text.trim())

  it('are found at the end, in the middle and at the beginning of a long file', async () => {
    assert.deepEqual(await found(0, 99_999), ['line 59997', 'line 59998', 'line 59999'])
    assert.deepEqual(await found(0, 30_000), ['line 29998', 'line 29999', 'line 30000'])
    assert.deepEqual(await found(0, 1002), ['line 1000', 'line 1001', 'line 1002'])
  })

  it('go on into the file before', async () => {
    assert.deepEqual(await found(0, 1001), ['line 999', 'line 1000', 'line 1001'])
    assert.deepEqual(await found(0, 5), ['line 3', 'line 4', 'line 5'])
  })

  it('end where the span begins', async () => {
    assert.deepEqual(await found(30_000, 30_001), ['line 30000', 'line 30001'])
    assert.deepEqual(await found(60_001, 60_002), [])
  })

  it('pass over lines as long as they can be, and what was cut off', async () => {
    const long = '\u0001'.repeat(16_384)
    writeFileSync(log, `${Array.from({ length: 40 }, (_, n) => line(1000 + n, long)).join('')}{"log":"cut`)
    const [last] = await lastLines(log, { since: at(0), until: at(1020) }, 1)
    assert.equal(last?.time, at(1020))
  })

  it('are none where there is no log', async () => {
    assert.deepEqual(await lastLines(path.join(folder, 'none'), { since: at(0), until: at(1) }, 3), [])
  })
})
