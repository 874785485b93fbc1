import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { RunEnd } from './endTypes.ts'
import { endText } from './whyText.ts'

const end: RunEnd = {
  begunAt: '2026-01-01T00:00:00Z',
  startedAt: '2026-01-01T00:00:01Z',
  at: '2026-01-01T00:01:02.5Z',
  exitCode: 1,
  cause: 'exit',
  outcome: { what: 'stayed' },
}

describe('an end in words', () => {
  it('says how long it ran, and why it ended', () => {
    assert.equal(
      endText(end),
      '2026-01-01T00:01:02.5Z: ended with 1 after 61.5 s: its process ended by itself with exit code 1.',
    )
  })

  it('names who called, and what came of it', () => {
    const by = { remote: '10.0.0.1:55', subject: 'ops', agent: 'curl/8', requestId: 'r1' }
    assert.match(
      endText({ ...end, cause: 'killed-by-call', verb: 'kill', by }),
      /docker kill was called by 10\.0\.0\.1:55, certificate ops, curl\/8, request r1\.$/,
    )
    assert.match(
      endText({ ...end, outcome: { what: 'restart', delay: 1600, count: 5 } }),
      /starts it again after 1\.6 s, for the 5\. time\.$/,
    )
  })

  it('tells of memory that another process wanted', () => {
    assert.match(endText({ ...end, oom: true }), /The kernel had killed one of its processes/)
    assert.doesNotMatch(endText({ ...end, oom: true, cause: 'oom' }), /one of its processes/)
  })
})
