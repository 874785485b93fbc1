import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { listTargets } from './outline.ts'
import { type Options, plan } from './testing/fixture.ts'

const text = `# BASE is what is built on
ARG BASE=alp$TAIL
ARG TAIL=ine
ARG UNUSED=1
# build builds
FROM alpine:$BASE AS build
# V is the version
ARG V=1
ARG W=$V
RUN --mount=type=secret,id=s,required x
RUN --mount=type=secret,id=s --mount=type=ssh x
FROM scratch AS other
ARG OTHER
# last is the target
FROM scratch AS last
ARG Z
COPY --from=build /x /
RUN --mount=type=ssh,id=k,required x
`

type Line = [name: string, detail: string | boolean, line: number]
const outline = async (options: Options): Promise<Line[][]> => {
  const images = Object.fromEntries(
    ['alpine:ine', 'alpine:alp', 'alpine:alpine'].map(name => [
      `docker.io/library/${name}`,
      { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers' as const, diff_ids: [] } },
    ]),
  )
  const { outline: found } = await plan(text, options, { images })
  return [
    [[found.name, found.description, 0]],
    found.arguments.map(({ name, value, description, ranges }) => [
      name,
      `${value}:${description}`,
      ranges[0]?.start.line ?? 0,
    ]),
    found.secrets.map(({ name, required, ranges }) => [name, required, ranges[0]?.start.line ?? 0]),
    found.ssh.map(({ name, required, ranges }) => [name, required, ranges[0]?.start.line ?? 0]),
  ]
}

test('what a target takes, with all that it is built from', async () =>
  assert.deepEqual(await outline({}), [
    [['last', 'is the target', 0]],
    [
      ['BASE', 'alp:is what is built on', 2],
      ['V', '1:is the version', 8],
      ['W', '1:', 9],
      ['Z', ':', 16],
    ],
    [['s', true, 10]],
    [
      ['default', false, 11],
      ['k', true, 18],
    ],
  ]))

test('what another target takes, with what was given', async () =>
  assert.deepEqual(await outline({ target: 'build', arguments: { BASE: 'alpine', V: '3' } }), [
    [['build', 'builds', 0]],
    [
      ['BASE', 'alpine:is what is built on', 2],
      ['V', '3:is the version', 8],
      ['W', '3:', 9],
    ],
    [['s', true, 10]],
    [['default', false, 11]],
  ]))

test('arguments that the default of a used one names are used', async () => {
  const { outline: found } = await plan('ARG A=1\nARG B=$A\nARG C=1\nFROM alpine\nARG B')
  assert.deepEqual(
    found.arguments.map(({ name, value }) => `${name}=${value}`),
    ['A=1', 'B=1'],
  )
})

test('an argument that is set several times is the last one, with what all of them name', async () => {
  const text =
    'ARG A=1\nARG B=2\nARG C=3\nARG A=$A$B\nARG D=${A}4\nARG A=$A$D\nFROM scratch\nARG A\nARG X=5\nARG Y=$X\nARG X=$X$Y'
  const { outline: found } = await plan(text)
  assert.deepEqual(
    found.arguments.map(({ name, value, ranges }) => `${name}=${value} ${ranges[0]?.start.line}`),
    ['B=2 2', 'D=124 5', 'A=12124 6', 'Y=5 10', 'X=55 11'],
  )
})

test('what a default names is not used where a value is given', async () => {
  const text = 'ARG A=1\nARG B=$A\nFROM scratch\nARG B\nARG X=1\nFROM scratch\nARG Y=$Z'
  const names = async (options: Options): Promise<string[]> =>
    (await plan(text, options)).outline.arguments.map(({ name }) => name)
  assert.deepEqual(await names({ target: '0' }), ['A', 'B', 'X'])
  assert.deepEqual(await names({ target: '0', arguments: { B: '2' } }), ['B', 'X'])
})

test('what each build knows by itself is no argument of the file', async () => {
  const { outline: found } = await plan('FROM scratch\nARG TARGETARCH\nARG TARGETOS=own')
  assert.deepEqual(
    found.arguments.map(({ name, value }) => `${name}=${value}`),
    ['TARGETOS=own'],
  )
})

test('targets', () =>
  assert.deepEqual(
    listTargets(parseDockerfile(text)).map(({ ranges, ...target }) => ({
      ...target,
      line: ranges[0]?.start.line,
    })),
    [
      { name: 'build', description: 'builds', default: false, base: 'alpine:$BASE', platform: '', line: 6 },
      { name: 'other', description: '', default: false, base: 'scratch', platform: '', line: 12 },
      { name: 'last', description: 'is the target', default: true, base: 'scratch', platform: '', line: 15 },
    ],
  ))
