import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Options, plan, type World } from './testing/fixture.ts'

const git: Options['context'] & {} = { kind: 'git', url: 'https://h/a.git' }

const cases: [
  what: string,
  text: string,
  options: Options,
  epoch: number | undefined,
  env: string | undefined,
][] = [
  ['none', 'FROM alpine\nARG SOURCE_DATE_EPOCH', {}, undefined, undefined],
  [
    'seconds',
    'FROM alpine\nARG SOURCE_DATE_EPOCH',
    { arguments: { SOURCE_DATE_EPOCH: '1700000000' } },
    1700000000,
    '1700000000',
  ],
  ['a default of the file', 'ARG SOURCE_DATE_EPOCH=5\nFROM alpine\nARG SOURCE_DATE_EPOCH', {}, 5, '5'],
  [
    'empty',
    'FROM alpine\nARG SOURCE_DATE_EPOCH',
    { arguments: { SOURCE_DATE_EPOCH: '' } },
    undefined,
    undefined,
  ],
  [
    'that of the context',
    'FROM alpine\nARG SOURCE_DATE_EPOCH',
    { arguments: { SOURCE_DATE_EPOCH: 'context' }, context: git },
    7,
    '7',
  ],
  [
    'a local context has none',
    'FROM alpine\nARG SOURCE_DATE_EPOCH',
    { arguments: { SOURCE_DATE_EPOCH: 'context' } },
    undefined,
    undefined,
  ],
  [
    'that of a named context',
    'FROM alpine\nARG SOURCE_DATE_EPOCH',
    { arguments: { SOURCE_DATE_EPOCH: 'c' }, namedContexts: { c: 'https://h/x' } },
    9,
    '9',
  ],
]
for (const [what, text, options, epoch, env] of cases)
  test(`the time of a build: ${what}`, async () => {
    const world: World = { dates: { git: 7, http: 9 } }
    const { epoch: found, image, graph } = await plan(`${text}\nRUN x`, options, world)
    assert.equal(found, epoch)
    const created =
      epoch === undefined ? undefined : new Date(epoch * 1000).toISOString().replace('.000Z', 'Z')
    assert.ok((image.history ?? []).every(entry => entry.created === created))
    const last = [...graph.vertices.values()].at(-1)?.operation
    assert.ok(last?.kind === 'exec')
    const value = last.env.find(entry => entry.startsWith('SOURCE_DATE_EPOCH='))?.split('=')[1]
    assert.equal(value, env)
  })

test('the time of what a stage fetches', async () => {
  const asked: string[] = []
  const text = 'ARG V=1\nFROM scratch AS src\nARG W=$V\nADD https://h/$W.git#main /\nFROM alpine'
  const world: World = { dates: { git: 7 }, asked }
  const { epoch } = await plan(text, { arguments: { SOURCE_DATE_EPOCH: 'SRC' } }, world)
  assert.equal(epoch, 7)
  assert.equal(asked[0], 'date of git https://h/1.git')
  const http = 'FROM scratch AS src\nADD https://h/x.tgz /'
  await plan(http, { arguments: { SOURCE_DATE_EPOCH: 'src' } }, { asked })
  assert.equal(asked.at(-1), 'date of http https://h/x.tgz')
})

test('other arguments are what they are', async () => {
  const { image } = await plan('ARG V=pine\nFROM al$V\nARG V', { arguments: { SOURCE_DATE_EPOCH: '5' } })
  assert.equal(image.history?.[0]?.created_by, 'ARG V=pine')
  assert.equal(image.history[0].created, '1970-01-01T00:00:05Z')
})

const wrong: [text: string, message: string][] = [
  ['FROM alpine', 'invalid SOURCE_DATE_EPOCH: a'],
  ['FROM alpine AS a', 'SOURCE_DATE_EPOCH stage must use FROM scratch'],
  ['FROM scratch AS a', 'SOURCE_DATE_EPOCH stage must contain exactly one remote ADD'],
  [
    'FROM scratch AS a\nADD https://h/x /\nADD https://h/y /',
    'SOURCE_DATE_EPOCH stage must contain exactly one remote ADD',
  ],
  [
    'FROM scratch AS a\nADD https://h/x https://h/y /',
    'SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source',
  ],
  ['FROM scratch AS a\nADD x /', 'SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD'],
  [
    'FROM scratch AS a\nRUN x',
    'SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported RUN instruction',
  ],
]
for (const [text, message] of wrong)
  test(`${JSON.stringify(text)}: ${message}`, () =>
    assert.rejects(plan(text, { arguments: { SOURCE_DATE_EPOCH: 'a' } }), { message }))
