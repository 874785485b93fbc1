import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseYaml } from './yaml.ts'

test('numbers and words are what they are in Go', async () => {
  assert.deepEqual(
    await parseYaml(
      'a: 0660\nb: 0o660\nc: -017\nd: 0x1F\ne: 089\nf: 1:30\ng: no\nh: true\ni: ~\nj: "0660"\nk: 1.5\n',
    ),
    {
      a: 0o660,
      b: 0o660,
      c: -0o17,
      d: 31,
      e: 89,
      f: '1:30',
      g: 'no',
      h: true,
      i: null,
      j: '0660',
      k: 1.5,
    },
  )
})

test('anchors and merge keys', async () => {
  assert.deepEqual(await parseYaml('a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n'), {
    a: { x: 1, y: 2 },
    b: { x: 1, y: 3 },
  })
})

test('what is not YAML is told with its place', async () => {
  await assert.rejects(parseYaml('a: 1\n b: [\n'), /^Error: invalid YAML: .* at line \d+, column \d+$/)
  await assert.rejects(parseYaml('a: 1\na: 2\n'), /unique at line 2, column 1$/)
  await assert.rejects(parseYaml('a: 1\n---\nb: 2\n'), /multiple documents/)
})

test('aliases cannot blow a text up', async () => {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const of = level === 0 ? '"lol"' : `*l${level - 1}`
    return `l${level}: &l${level} [${Array(9).fill(of).join(', ')}]`
  })
  await assert.rejects(parseYaml(`${levels.join('\n')}\n`), /alias/)
})
