import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseProcessTable } from './top.ts'

describe('the table of ps', () => {
  it('keeps lines of the given processes, the command whole', () => {
    const output = 'UID   PID CMD\nroot    1 init  --x\nroot   22 sh -c  a\n'
    assert.deepEqual(parseProcessTable(output, new Set([22])), {
      Titles: ['UID', 'PID', 'CMD'],
      Processes: [['root', '22', 'sh -c a']],
    })
  })

  it('keeps lines of threads below their process', () => {
    const output = 'PID LWP CMD\n5 - a\n- 5 -\n6 - b\n- 6 -\n'
    const { Processes } = parseProcessTable(output, new Set([6]))
    assert.deepEqual(Processes, [
      ['6', '-', 'b'],
      ['-', '6', '-'],
    ])
  })

  it('tells a table without processes apart', () => {
    assert.throws(() => parseProcessTable('USER CMD\n', new Set()), {
      message: "Couldn't find PID field in ps output",
    })
    assert.throws(() => parseProcessTable('PID CMD\nx y\n', new Set()), { message: /Unexpected pid 'x'/ })
  })
})
