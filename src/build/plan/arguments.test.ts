import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arm64, image, type Options, plan } from './testing/fixture.ts'

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The variables of the last RUN, in their order, without PATH. */
const variables = async (text: string, options: Options = {}): Promise<string> => {
  const images = { 'docker.io/library/own:latest': image({ Env: [path, 'A=image'] }) }
  const { graph } = await plan(`${text}\nRUN x`, options, { images })
  const last = [...graph.vertices.values()].at(-1)?.operation
  assert.ok(last?.kind === 'exec')
  return last.env.filter(entry => entry !== path).join(' ')
}

const given = (values: Record<string, string>): Options => ({ arguments: values })

const cases: [text: string, options: Options, expected: string][] = [
  ['FROM alpine\nARG A', {}, ''],
  ['FROM alpine\nARG A=1', {}, 'A=1'],
  ['FROM alpine\nARG A=1', given({ A: '2' }), 'A=2'],
  ['FROM alpine\nARG A=1', given({ A: '' }), 'A='],
  ['FROM alpine\nARG A', given({ A: '2' }), 'A=2'],
  ['FROM alpine', given({ A: '2' }), ''],
  ['ARG A=1\nFROM alpine', {}, ''],
  ['ARG A=1\nFROM alpine\nARG A', {}, 'A=1'],
  ['ARG A=1\nFROM alpine\nARG A=2', {}, 'A=2'],
  ['ARG A=1\nFROM alpine\nARG A', given({ A: '3' }), 'A=3'],
  ['ARG A=1\nARG B=$A-2\nFROM alpine\nARG B', {}, 'B=1-2'],
  ['FROM alpine\nARG A=1 B=$A', {}, 'A=1 B=1'],
  ['FROM alpine\nENV A=1\nARG A=2', {}, 'A=2'],
  ['FROM alpine\nARG A=1\nENV A=2', {}, 'A=2'],
  ['FROM alpine\nARG A=1\nENV A=${A}2', given({ A: '3' }), 'A=32'],
  ['FROM alpine\nENV A=1 B=$A', {}, 'A=1 B='],
  ['FROM alpine\nENV A=1\nENV B=$A', {}, 'A=1 B=1'],
  ['FROM own', {}, 'A=image'],
  ['FROM own\nARG A=2', {}, 'A=2'],
  ['FROM own\nARG A', {}, 'A=image'],
  ['FROM alpine AS a\nARG A=1\nENV B=2\nFROM a', {}, 'A=1 B=2'],
  ['FROM alpine AS a\nENV A=1\nARG A=2\nFROM a', {}, 'A=1'],
  ['FROM alpine AS a\nARG A=1\nFROM alpine', {}, ''],
  [
    'FROM alpine\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDARCH',
    { targetPlatform: arm64 },
    'TARGETPLATFORM=linux/arm64 TARGETARCH=arm64 TARGETVARIANT= BUILDARCH=amd64',
  ],
  ['FROM alpine', { targetPlatform: arm64 }, ''],
  ['FROM alpine\nARG TARGETARCH', given({ TARGETARCH: 'x' }), 'TARGETARCH=x'],
  ['FROM alpine\nARG TARGETSTAGE', {}, 'TARGETSTAGE=default'],
  ['FROM alpine AS t\nARG TARGETSTAGE', {}, 'TARGETSTAGE=t'],
  ['FROM alpine AS t\nARG TARGETSTAGE', { target: 't' }, 'TARGETSTAGE=t'],
  ['FROM alpine', given({ HTTP_PROXY: 'p' }), ''],
  ['FROM alpine\nARG HTTP_PROXY', given({ HTTP_PROXY: 'p' }), 'HTTP_PROXY=p'],
  ['FROM alpine\nARG BUILDKIT_SBOM_SCAN_STAGE=true', {}, ''],
  ['FROM alpine\nARG A=$B', {}, 'A='],
  ['FROM alpine\nARG A=${B:?x}', given({ A: '1' }), 'A=1'],
]
for (const [text, options, expected] of cases)
  test(`${JSON.stringify(text)} ${JSON.stringify(options)}: ${expected}`, async () =>
    assert.equal(await variables(text, options), expected))

const bases: [text: string, options: Options, reference: string][] = [
  ['ARG V=1\nFROM a:$V', {}, 'docker.io/library/a:1'],
  ['ARG V=1\nFROM a:$V', given({ V: '2' }), 'docker.io/library/a:2'],
  ['ARG V\nFROM a:${V:-3}', {}, 'docker.io/library/a:3'],
  ['FROM a:$TARGETARCH', { targetPlatform: arm64 }, 'docker.io/library/a:arm64'],
]
for (const [text, options, reference] of bases)
  test(`${JSON.stringify(text)} ${JSON.stringify(options)}: ${reference}`, async () => {
    const asked: string[] = []
    await plan(text, options, { images: { [reference]: image() }, asked })
    assert.ok(asked[0]?.includes(`${reference} `))
  })
