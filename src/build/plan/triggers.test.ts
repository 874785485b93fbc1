import assert from 'node:assert/strict'
import { test } from 'node:test'
import { image, plan } from './testing/fixture.ts'
import { graphText, stepNames } from './testing/graphText.ts'

const withTriggers = (...triggers: string[]) => ({
  images: { 'docker.io/library/own:latest': image({ OnBuild: triggers }) },
})

test('ONBUILD of an image comes before what the stage does, and goes no further', async () => {
  const { graph, image: config } = await plan('FROM own\nRUN b', {}, withTriggers('RUN a', 'ENV A=1'))
  assert.deepEqual(stepNames(graph), [
    '[1/2] FROM docker.io/library/own:latest',
    '[2/4] ONBUILD RUN a',
    '[3/4] RUN b',
  ])
  assert.equal(config.config?.OnBuild, undefined)
  assert.deepEqual(
    config.history?.map(entry => entry.created_by),
    ['RUN /bin/sh -c a # buildkit', 'ENV A=1', 'RUN /bin/sh -c b # buildkit'],
  )
})

test('ONBUILD of a stage is for those that are built on it, and not for theirs', async () => {
  const { graph } = await plan('FROM alpine AS a\nONBUILD RUN x\nFROM a AS b\nRUN y\nFROM b\nRUN z')
  assert.deepEqual(graphText(graph).slice(1), [
    '1 exec 0: /bin/sh -c x',
    '2 exec 1: /bin/sh -c y',
    '3 exec 2: /bin/sh -c z',
  ])
})

test('ONBUILD takes from stages and images that nobody else names', async () => {
  const triggers = [
    'COPY --from=other /a /b',
    'COPY --from=busybox /c /d',
    'RUN --mount=from=other,target=/e f',
  ]
  const text = 'FROM alpine AS other\nRUN a\nFROM own AS base\nFROM scratch\nCOPY --from=base /b /'
  const { graph } = await plan(text, {}, withTriggers(...triggers))
  assert.deepEqual(graphText(graph), [
    '0 image docker.io/library/own:latest',
    '1 image docker.io/library/alpine:latest',
    '2 exec 1: /bin/sh -c a',
    '3 file 0: copy 2:/a /b',
    '4 image docker.io/library/busybox:latest',
    '5 file 3: copy 4:/c /d',
    '6 exec 5: /bin/sh -c f; bind /e 2:/ ro',
    '7 file -: copy 6:/b /',
  ])
})

test('ONBUILD has heredocs', async () => {
  const { graph } = await plan('FROM alpine AS a\nONBUILD COPY <<E /x\nhi\nE\nFROM a')
  assert.deepEqual(graphText(graph).slice(1), ['1 file -: write /E "hi\\n"', '2 file 0: copy 1:/E /x plain'])
})

const wrong: [trigger: string, message: string][] = [
  ['WHAT', 'unknown instruction: WHAT'],
  ['RUN a\nRUN b', 'onbuild trigger should be a single expression'],
  ['COPY --from=5 a b', 'invalid stage index 5'],
]
for (const [trigger, message] of wrong)
  test(`${JSON.stringify(trigger)}: ${message}`, () =>
    assert.rejects(plan('FROM alpine AS a\nFROM own', {}, withTriggers(trigger)), error => {
      const { message: words, ranges } = error as {
        message: string
        ranges: { start: { line: number } }[]
      } & Error
      assert.ok(words.startsWith(message), words)
      assert.deepEqual(
        ranges.map(({ start }) => start.line),
        [2],
      )
      return true
    }))
