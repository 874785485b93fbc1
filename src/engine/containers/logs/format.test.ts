import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lineFormatter } from './format.ts'

test('a line has all nine digits of its time, whatever its file has', () => {
  const format = lineFormatter(
    {
      stdout: true,
      stderr: true,
      since: undefined,
      until: undefined,
      timestamps: true,
      details: false,
      follow: false,
      tail: undefined,
    },
    false,
  )
  const shown = (time: string): string =>
    String(format(JSON.stringify({ log: 'said\n', stream: 'stdout', time })).bytes)
  assert.equal(shown('2026-01-02T03:04:05.12Z'), '2026-01-02T03:04:05.120000000Z said\n')
  assert.equal(shown('2026-01-02T03:04:05Z'), '2026-01-02T03:04:05.000000000Z said\n')
  assert.equal(shown('2026-01-02T03:04:05.123456789Z'), '2026-01-02T03:04:05.123456789Z said\n')
})
