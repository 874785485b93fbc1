import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DockerfileError } from '../dockerfile/errors.ts'
import { amd64, arm64, image, type Options, plan } from './testing/fixture.ts'
import { graphText, stepNames } from './testing/graphText.ts'

const three =
  'FROM alpine AS one\nRUN 1\nFROM busybox AS two\nRUN 2\nFROM one AS three\nCOPY --from=two /x /y'

const targets: [target: string | undefined, ...graph: string[]][] = [
  [
    undefined,
    '0 image docker.io/library/alpine:latest',
    '1 exec 0: /bin/sh -c 1',
    '2 image docker.io/library/busybox:latest',
    '3 exec 2: /bin/sh -c 2',
    '4 file 1: copy 3:/x /y',
  ],
  ['one', '0 image docker.io/library/alpine:latest', '1 exec 0: /bin/sh -c 1'],
  ['TWO', '0 image docker.io/library/busybox:latest', '1 exec 0: /bin/sh -c 2'],
  ['0', '0 image docker.io/library/alpine:latest', '1 exec 0: /bin/sh -c 1'],
]
for (const [target, ...graph] of targets)
  test(`target ${target ?? 'of the file'}`, async () => {
    const planned = await plan(three, target === undefined ? {} : { target })
    assert.deepEqual(graphText(planned.graph), graph)
  })

test('only what a target needs is asked for', async () => {
  const asked: string[] = []
  await plan('FROM nowhere AS a\nFROM alpine AS b\nFROM alpine\nCOPY --from=b /x /', {}, { asked })
  assert.deepEqual(asked, ['[internal] load metadata for docker.io/library/alpine:latest (amd64)'])
})

const steps: [text: string, options: Options, ...names: string[]][] = [
  ['FROM alpine\nRUN a', {}, '[1/2] FROM docker.io/library/alpine:latest', '[2/2] RUN a'],
  [
    'FROM alpine\nFROM alpine\nRUN a',
    {},
    '[stage-1 1/2] FROM docker.io/library/alpine:latest',
    '[stage-1 2/2] RUN a',
  ],
  ['FROM scratch AS x\ncopy a b\nWORKDIR /', {}, '[internal] load build context', '[1/2] COPY a b'],
  [
    `FROM alpine\n${'RUN a\n'.repeat(9)}`,
    {},
    '[ 1/10] FROM docker.io/library/alpine:latest',
    ...Array.from({ length: 8 }, (_, index) => `[ ${index + 2}/10] RUN a`),
    '[10/10] RUN a',
  ],
  [
    'FROM alpine\nRUN a',
    { multiPlatform: true },
    '[linux/amd64 1/2] FROM docker.io/library/alpine:latest',
    '[linux/amd64 2/2] RUN a',
  ],
  [
    'FROM --platform=$BUILDPLATFORM alpine\nARG TARGETARCH\nRUN a',
    { multiPlatform: true, targetPlatform: arm64 },
    '[linux/amd64 1/2] FROM docker.io/library/alpine:latest',
    '[linux/amd64->arm64 2/2] RUN a',
  ],
  [
    'FROM alpine\nARG A=1\nENV B=2\nRUN "$A" $B ${C:-3} $D',
    {},
    '[1/2] FROM docker.io/library/alpine:latest',
    '[2/2] RUN "1" 2 ${C:-3} $D',
  ],
  [
    'FROM alpine\nRUN --mount=type=secret,id=s,env=S a $S',
    {},
    '[1/2] FROM docker.io/library/alpine:latest',
    '[2/2] RUN --mount=type=secret,id=s,env=S a ****',
  ],
  [
    'FROM alpine\nRUN <<E\n\nset -e\nmake\nE',
    {},
    '[1/2] FROM docker.io/library/alpine:latest',
    '[2/2] RUN <<E (set -e...)',
  ],
  [
    'FROM alpine\nENV A="x"\nWORKDIR "$A"',
    {},
    '[1/2] FROM docker.io/library/alpine:latest',
    '[2/2] WORKDIR x',
  ],
]
for (const [text, options, ...names] of steps)
  test(`steps of ${JSON.stringify(text.slice(0, 60))}`, async () =>
    assert.deepEqual(stepNames((await plan(text, options)).graph), names))

test('the two steps of a linked layer are of one group', async () => {
  const { graph } = await plan('FROM alpine\nCOPY --link a /')
  const found = [...graph.vertices.values()].slice(2).map(({ step: { name, group } }) => [name, group])
  assert.deepEqual(found, [
    ['[2/2] COPY --link a /', '[2/2] COPY --link a /'],
    ['[2/2] LINK COPY --link a /', '[2/2] COPY --link a /'],
  ])
})

test('a step tells its lines and what it does', async () => {
  const { graph } = await plan('FROM alpine\nARG A=1\nRUN \\\n make', { fileName: 'a/Dockerfile' })
  const found = [...graph.vertices.values()].map(({ step: { source, described } }) => ({ source, described }))
  assert.deepEqual(found, [
    { source: { file: 'a/Dockerfile', ranges: [{ start: 1, end: 1 }] }, described: 'FROM alpine' },
    {
      source: { file: 'a/Dockerfile', ranges: [{ start: 3, end: 4 }] },
      described: 'RUN |1 A=1 /bin/sh -c make',
    },
  ])
})

const anew: [noCache: Options['noCache'], ...expected: (boolean | undefined)[]][] = [
  [undefined, undefined, undefined],
  ['all', true, true],
  [[], undefined, undefined],
  [['Two'], undefined, true],
]
for (const [noCache, ...expected] of anew)
  test(`no cache: ${JSON.stringify(noCache)}`, async () => {
    const text = 'FROM alpine AS one\nRUN 1\nFROM one AS two\nCOPY a /\nFROM one\nCOPY --from=two / /'
    const { graph } = await plan(text, noCache === undefined ? {} : { noCache })
    const steps = [...graph.vertices.values()].filter(({ step }) => /RUN 1|COPY a/.test(step.name))
    assert.deepEqual(
      steps.map(({ step }) => step.ignoreCache),
      expected,
    )
  })

const platforms: [text: string, options: Options, expected: string[]][] = [
  ['FROM alpine', { targetPlatform: arm64 }, ['0 image docker.io/library/alpine:latest (linux/arm64)']],
  ['FROM --platform=linux/arm64 alpine', {}, ['0 image docker.io/library/alpine:latest (linux/arm64)']],
  [
    'FROM --platform=$BUILDPLATFORM alpine',
    { targetPlatform: arm64 },
    ['0 image docker.io/library/alpine:latest'],
  ],
  [
    'ARG P=linux/arm64\nFROM --platform=$P alpine',
    {},
    ['0 image docker.io/library/alpine:latest (linux/arm64)'],
  ],
  ['FROM alpine', { resolve: 'pull' }, ['0 image docker.io/library/alpine:latest resolve=pull']],
  [
    'FROM --platform=linux/arm64 alpine AS a\nFROM a\nRUN x',
    {},
    ['0 image docker.io/library/alpine:latest (linux/arm64)', '1 exec 0: /bin/sh -c x (linux/arm64)'],
  ],
]
for (const [text, options, expected] of platforms)
  test(`${JSON.stringify(text)} ${JSON.stringify(options)}`, async () =>
    assert.deepEqual(graphText((await plan(text, options)).graph), expected))

test('an image without layers is nothing', async () => {
  const images = {
    'docker.io/library/empty:latest': { ...image(), rootfs: { type: 'layers' as const, diff_ids: [] } },
  }
  assert.deepEqual(graphText((await plan('FROM empty\nRUN a', {}, { images })).graph), [
    '0 exec -: /bin/sh -c a',
  ])
})

test('nothing is built on nothing', async () => {
  const { graph, image: config } = await plan('FROM scratch')
  assert.deepEqual([graph.result, graph.vertices.size], [undefined, 0])
  assert.deepEqual(config.rootfs, { type: 'layers', diff_ids: [] })
})

const wrong: [text: string, options: Options, message: string, ...lines: number[]][] = [
  [
    'FROM alpine AS build',
    { target: 'bulid' },
    'target stage "bulid" could not be found (did you mean build?)',
  ],
  ['FROM alpine', { target: 'x' }, 'target stage "x" could not be found'],
  ['FROM alpine', { target: '1' }, 'target stage "1" could not be found'],
  ['FROM alpin', {}, 'alpin: docker.io/library/alpin:latest: not found (did you mean alpine?)', 1],
  [
    'FROM scratch AS base\nFROM bsae',
    {},
    'bsae: docker.io/library/bsae:latest: not found (did you mean base?)',
    2,
  ],
  ['FROM scratch\nCOPY --from=nowhere /a /', {}, 'nowhere: docker.io/library/nowhere:latest: not found', 2],
  [
    'FROM Alpine',
    {},
    'failed to parse stage name "Alpine": invalid reference format: repository name (Alpine) must be lowercase',
    1,
  ],
  ['FROM a:b:c', {}, 'failed to parse stage name "a:b:c": invalid reference format', 1],
  ['ARG A\nFROM $A', {}, 'base name ($A) should not be blank', 2],
  [
    'FROM --platform=$BULIDPLATFORM alpine',
    {},
    'empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)',
    1,
  ],
  ['FROM alpine AS stage0\nCOPY --from=stage0 f /', {}, 'circular dependency detected on stage: stage0', 2],
  [
    'FROM busybox AS stage0\nCOPY --from=stage2 f1 /\nFROM busybox AS stage1\nCOPY --from=stage0 f2 /\nFROM busybox AS stage2\nCOPY --from=stage1 f2 /',
    {},
    'circular dependency detected on stage: stage0',
    2,
    6,
    4,
  ],
  [
    'FROM alpine AS a\nCOPY --from=b /x /\nFROM alpine AS b\nFROM a',
    {},
    'cannot copy from stage "b", it needs to be defined before current stage "a"',
    2,
  ],
  [
    'FROM alpine AS a\nRUN --mount=from=b,target=/x y\nFROM alpine AS b\nFROM a',
    {},
    'cannot mount from stage "b" to "/x", stage needs to be defined before current command',
    2,
  ],
  ['FROM alpine\nSTOPSIGNAL nothing', {}, 'invalid signal: nothing', 2],
  ['FROM alpine\nEXPOSE a', {}, 'invalid containerPort: a', 2],
  ['FROM alpine\nRUN a\nENV A=${B:?missing}', {}, 'failed to process "${B:?missing}": B: missing', 3],
]
for (const [text, options, message, ...lines] of wrong)
  test(`${JSON.stringify(text)}: ${message}`, () =>
    assert.rejects(plan(text, options), error => {
      const { message: words, ranges } = error as DockerfileError
      assert.deepEqual([words, ranges.map(({ start }) => start.line)], [message, lines])
      return true
    }))

test('the platform of a plan is what its target runs on', async () => {
  assert.deepEqual((await plan('FROM alpine')).platform, amd64)
  assert.deepEqual((await plan('FROM alpine', { targetPlatform: arm64 })).platform, arm64)
})
