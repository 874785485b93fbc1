import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatNanos, nowNanos } from '../../core/clock.ts'
import { recordFilter } from './filter.ts'
import type { BuildRecord } from './types.ts'

const second = 1_000_000_000n

const recordOf = (more: Partial<BuildRecord> = {}): BuildRecord => ({
  ...{ ref: 'abc123', frontend: 'dockerfile.v0', attributes: {}, exporters: [] },
  createdAt: formatNanos(nowNanos() - 600n * second),
  completedAt: formatNanos(nowNanos() - 570n * second),
  ...{ response: {}, log: { mediaType: '', digest: 'sha256:0', size: 0 }, steps: [] },
  counts: { total: 0, completed: 0, cached: 0, warnings: 0 },
  ...{ pinned: false, generation: 0 },
  ...more,
})

const holds = (filters: string[], more?: Partial<BuildRecord>): boolean =>
  recordFilter(filters)(recordOf(more))

test('records are filtered as clients ask for it', () => {
  assert.ok(holds([]))
  assert.ok(holds(['status==completed']))
  assert.ok(!holds(['status==error']))
  assert.ok(holds(['status==error'], { error: { code: 2, message: 'broken' } }))
  assert.ok(holds(['status==canceled'], { error: { code: 1, message: 'gone' } }))
  assert.ok(holds(['ref~=c12']) && !holds(['ref~=d']) && holds(['ref!=other']))
  assert.ok(holds(['startedAt<5m,duration<40s']) && !holds(['startedAt>5m']))
  assert.ok(holds(['startedAt>15m', 'status==error']) && !holds(['startedAt>15m,status==error']))
  assert.ok(!holds(['duration>=1m']) && holds(['completedAt>2020-01-01T00:00:00Z']))
  const source = { attributes: { 'vcs:source': 'https://example.org/x.git' } }
  assert.ok(holds(['"repository~=""example.org"""'], source))
  assert.ok(holds(['repository==https://h/y.git'], { attributes: { context: 'https://h/y.git#main' } }))
  assert.ok(!holds(['repository~=h'], { attributes: { context: 'context' } }))
})

test('a build that is under way', () => {
  const { completedAt: _completed, ...going } = recordOf()
  assert.ok(recordFilter(['status==running'])(going))
  assert.ok(!recordFilter(['completedAt>1h'])(going))
})

test('what is no filter is refused', () => {
  for (const text of ['status', 'status>x', 'constructor==x', 'duration>x', 'startedAt>x', 'duration==1s'])
    assert.throws(() => recordFilter([text]), /invalid|failed to parse/)
})
