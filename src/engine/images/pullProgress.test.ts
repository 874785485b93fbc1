import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../oci/digest.ts'
import { LayerProgress, type PullLine, progressBar } from './pullProgress.ts'

const digest = digestOf('layer')

const recorded = (size = 1000) => {
  const lines: PullLine[] = []
  let now = 0
  const progress = new LayerProgress(
    { digest, size },
    line => void lines.push(line),
    () => now,
  )
  const pass = (ms: number): void => {
    now += ms
  }
  return { lines, progress, pass }
}

test('lines with bytes come at most every tenth of a second, but the first and the last', () => {
  const { lines, progress, pass } = recorded()
  for (let current = 0; current <= 1000; current += 10) {
    progress.fetched({ stage: 'downloading', current })
    pass(10)
  }
  assert.deepEqual(
    lines.map(line => line.progressDetail?.current),
    [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000],
  )
})

test('bytes never go backwards, also where the fetch does', () => {
  const { lines, progress, pass } = recorded()
  for (const current of [500, 0, 400, 600]) {
    pass(1000)
    progress.fetched({ stage: 'downloading', current })
  }
  assert.deepEqual(
    lines.map(line => line.progressDetail?.current),
    [500, 600],
  )
})

test('each stage is said once, in docker’s words', () => {
  const { lines, progress } = recorded()
  progress.say('Pulling fs layer')
  progress.fetched({ stage: 'waiting' })
  progress.fetched({ stage: 'waiting' })
  progress.fetched({ stage: 'downloading', current: 10 })
  progress.fetched({ stage: 'retrying', pause: 100 })
  progress.fetched({ stage: 'retrying', pause: 4100 })
  progress.fetched({ stage: 'verifying' })
  progress.fetched({ stage: 'complete' })
  progress.bytes('Extracting', 5)
  progress.say('Pull complete')
  assert.deepEqual(
    lines.map(line => line.status),
    [
      ...['Pulling fs layer', 'Waiting', 'Downloading', 'Retrying in 1 second', 'Retrying in 5 seconds'],
      ...['Verifying Checksum', 'Download complete', 'Extracting', 'Pull complete'],
    ],
  )
  assert.ok(lines.every(line => line.id === digest.slice(7, 19)))
})

test('the bar is docker’s', () => {
  assert.equal(progressBar(0, 2000), `[>${' '.repeat(50)}]       0B/2kB`)
  assert.equal(progressBar(1_234_567, 2_469_134), `[${'='.repeat(25)}>${' '.repeat(25)}]  1.235MB/2.469MB`)
  assert.equal(progressBar(2000, 2000), `[${'='.repeat(50)}>]      2kB/2kB`)
  assert.equal(progressBar(5, 0), '      5B')
})
