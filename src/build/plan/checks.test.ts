import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Warning } from '../dockerfile/types.ts'
import { checkBuild } from './planBuild.ts'
import { arm64, image, type Options, outsideOf, plan, requestOf } from './testing/fixture.ts'

const found = (warnings: Warning[]): string[] =>
  warnings.map(({ rule, ranges }) => `${rule} ${ranges[0]?.start.line}`)

const cases: [text: string, options: Options, ...warnings: string[]][] = [
  ['FROM alpine\nRUN a', {}],
  ['FROM alpine as a\nCMD b', {}, 'FromAsCasing 1', 'JSONArgsRecommended 2'],
  ['FROM alpine\nCOPY $X /', {}, 'UndefinedVar 2'],
  ['FROM alpine\nARG X\nCOPY $X /', {}],
  ['FROM alpine\nARG X=$Y', {}, 'UndefinedVar 2'],
  ['FROM alpine\nRUN --mount=type=tmpfs,target=/x$Y z', {}, 'UndefinedVar 2'],
  ['FROM alpine\nWORKDIR a', {}, 'WorkdirRelativePath 2'],
  ['FROM alpine AS a\nWORKDIR /a\nFROM a\nWORKDIR b', {}],
  ['FROM shell\nCMD b', {}],
  ['FROM alpine AS a\nCMD b\nFROM alpine AS b', {}],
  ['FROM --platform=$TARGETPLATFORM alpine', {}, 'RedundantTargetPlatform 1'],
  ['FROM alpine$X', {}, 'UndefinedArgInFrom 1'],
  ['ARG A\nFROM ${A:-alpine}', {}],
  ['ARG A\nFROM $A', { arguments: { A: 'alpine' } }, 'InvalidDefaultArgInFrom 2'],
  ['FROM alpine', { targetPlatform: arm64 }, 'InvalidBaseImagePlatform 1'],
  ['FROM alpine\nEXPOSE 80/TCP 127.0.0.1:1:2', {}, 'ExposeInvalidFormat 2', 'ExposeProtoCasing 2'],
  [
    'FROM alpine\nCOPY a.md /\nADD b /',
    { context: { kind: 'local', name: 'c', sharedKey: 'c', exclude: ['*.md'] } },
    'CopyIgnoredFile 2',
  ],
  ['FROM alpine as a\nCMD b', { checks: { skip: 'all', experimental: [], error: false } }],
  [
    'FROM alpine as a\nCMD b',
    { arguments: { BUILDKIT_DOCKERFILE_CHECK: 'skip=FromAsCasing' } },
    'JSONArgsRecommended 2',
  ],
]
for (const [text, options, ...warnings] of cases)
  test(`${JSON.stringify(text)}: ${warnings.join(', ') || 'nothing'}`, async () => {
    const images = { 'docker.io/library/shell:latest': image({ Shell: ['/s'] }) }
    assert.deepEqual(found((await plan(text, options, { images })).warnings), warnings)
  })

test('findings fail a build that says so', () =>
  assert.rejects(plan('# check=error=true\nFROM alpine as a'), {
    message: 'lint violation found for rules: FromAsCasing',
  }))

test('checks are made of all stages, also where the build would fail', async () => {
  const check = (text: string, options: Options = {}) => checkBuild(requestOf(text, options), outsideOf())
  const text = 'FROM alpine AS a\nCMD x\nFROM alpine AS b\nCMD y'
  assert.deepEqual(found((await check(text)).warnings), ['JSONArgsRecommended 2', 'JSONArgsRecommended 4'])
  assert.deepEqual(found((await check(text, { target: 'b' })).warnings), ['JSONArgsRecommended 4'])
  const { warnings, error } = await check('FROM alpine as a\nFROM nowhere')
  assert.deepEqual(found(warnings), ['FromAsCasing 1'])
  assert.equal(error?.message, 'nowhere: docker.io/library/nowhere:latest: not found')
})

test('a scan looks at what its arguments name', async () => {
  const text =
    'FROM alpine AS a\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\nFROM alpine AS b\nFROM scratch\nARG BUILDKIT_SBOM_SCAN_CONTEXT=1\nCOPY --from=a /x /\nCOPY --from=b /x /'
  const { scanned, graph } = await plan(text)
  assert.deepEqual(
    scanned.map(({ name }) => name),
    ['context', 'a'],
  )
  assert.deepEqual(
    [...(scanned[0]?.graph.vertices.values() ?? [])].map(({ operation }) => operation.kind),
    ['local'],
  )
  assert.ok(graph.vertices.has(scanned[1]?.graph.result?.vertex ?? 'sha256:'))
})

test('what was asked for in vain by accident is not said to be the file', async () => {
  const outside = { ...outsideOf(), image: () => Promise.reject(new TypeError('broken')) }
  await assert.rejects(checkBuild(requestOf('FROM alpine'), outside), TypeError)
})
