import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageConfig, ImageRunConfig } from '../../oci/image.ts'
import { arm64, image, type Options, plan } from './testing/fixture.ts'

/** What a stage on an image of its own has in its configuration, the path left out, and the texts of its history. */
const planned = async (
  text: string,
  base: ImageRunConfig = {},
  options: Options = {},
): Promise<ImageConfig> => {
  const images = { 'docker.io/library/own:latest': image(base) }
  return (await plan(`FROM own\n${text}`, options, { images })).image
}

const cases: [text: string, base: ImageRunConfig, config: ImageRunConfig, ...history: string[]][] = [
  ['ENV A=1 B="2 3"', {}, { Env: ['A=1', 'B=2 3'] }, 'ENV A=1 B=2 3'],
  ['ENV A=3', { Env: ['A=1', 'B=2'] }, { Env: ['A=3', 'B=2'] }, 'ENV A=3'],
  ['ENV A b c', {}, { Env: ['A=b c'] }, 'ENV A=b c'],
  [
    'LABEL a=1 b="$PATHS"',
    { Labels: { a: '0', c: '2' } },
    { Labels: { a: '1', c: '2', b: '' } },
    'LABEL a=1 b=',
  ],
  ['CMD a b', {}, { Cmd: ['/bin/sh', '-c', 'a b'], ArgsEscaped: true }, 'CMD ["/bin/sh" "-c" "a b"]'],
  ['CMD ["a", "b \\"c"]', {}, { Cmd: ['a', 'b "c'], ArgsEscaped: true }, 'CMD ["a" "b \\"c"]'],
  ['ENTRYPOINT ["a"]', { Cmd: ['b'] }, { Entrypoint: ['a'] }, 'ENTRYPOINT ["a"]'],
  [
    'CMD ["b"]\nENTRYPOINT ["a"]',
    { Cmd: ['c'] },
    { Entrypoint: ['a'], Cmd: ['b'], ArgsEscaped: true },
    'CMD ["b"]',
    'ENTRYPOINT ["a"]',
  ],
  [
    'ENTRYPOINT ["a"]\nCMD ["b"]',
    {},
    { Entrypoint: ['a'], Cmd: ['b'], ArgsEscaped: true },
    'ENTRYPOINT ["a"]',
    'CMD ["b"]',
  ],
  [
    'SHELL ["/b", "-c"]\nENTRYPOINT a',
    {},
    { Shell: ['/b', '-c'], Entrypoint: ['/b', '-c', 'a'] },
    'SHELL [/b -c]',
    'ENTRYPOINT ["/b" "-c" "a"]',
  ],
  [
    'ENTRYPOINT a',
    { Shell: ['/own'] },
    { Shell: ['/own'], Entrypoint: ['/own', 'a'] },
    'ENTRYPOINT ["/own" "a"]',
  ],
  [
    'EXPOSE 80 53/udp 90-91',
    { ExposedPorts: { '1/tcp': {} } },
    { ExposedPorts: { '1/tcp': {}, '53/udp': {}, '80/tcp': {}, '90/tcp': {}, '91/tcp': {} } },
    'EXPOSE [53/udp 80/tcp 90/tcp 91/tcp]',
  ],
  [
    'ARG P="80 81"\nEXPOSE $P',
    {},
    { ExposedPorts: { '80/tcp': {}, '81/tcp': {} } },
    'ARG P=80 81',
    'EXPOSE [80/tcp 81/tcp]',
  ],
  ['VOLUME /a ["/b"]', {}, { Volumes: { '/a': {}, '[/b]': {} } }, 'VOLUME [/a [/b]]'],
  ['VOLUME ["/a", "/b"]', {}, { Volumes: { '/a': {}, '/b': {} } }, 'VOLUME [/a /b]'],
  ['USER a:b', { User: 'c' }, { User: 'a:b' }, 'USER a:b'],
  ['STOPSIGNAL SIGTERM', {}, { StopSignal: 'SIGTERM' }, 'STOPSIGNAL SIGTERM'],
  ['STOPSIGNAL RTMIN+3', {}, { StopSignal: 'RTMIN+3' }, 'STOPSIGNAL RTMIN+3'],
  ['STOPSIGNAL 9', {}, { StopSignal: '9' }, 'STOPSIGNAL 9'],
  ['WORKDIR /a', {}, { WorkingDir: '/a' }, '+WORKDIR /a'],
  ['WORKDIR b', { WorkingDir: '/a' }, { WorkingDir: '/a/b' }, '+WORKDIR /a/b'],
  ['WORKDIR /', { WorkingDir: '/a' }, { WorkingDir: '/' }, 'WORKDIR /'],
  ['MAINTAINER me', {}, {}, 'MAINTAINER me'],
  ['ONBUILD RUN a', { OnBuild: [] }, { OnBuild: ['RUN a'] }],
  [
    'HEALTHCHECK --interval=90s --timeout=100ms --start-period=1h1s --retries=2 CMD a "b"',
    {},
    {
      Healthcheck: {
        Test: ['CMD-SHELL', 'a "b"'],
        Interval: 90e9,
        Timeout: 1e8,
        StartPeriod: 3601e9,
        Retries: 2,
      },
    },
    'HEALTHCHECK {Test:[CMD-SHELL a "b"] Interval:1m30s Timeout:100ms StartPeriod:1h0m1s StartInterval:0s Retries:2}',
  ],
  [
    'HEALTHCHECK NONE',
    { Healthcheck: { Test: ['CMD', 'a'] } },
    { Healthcheck: { Test: ['NONE'] } },
    'HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}',
  ],
  ['ARG A B=1', {}, {}, 'ARG A B=1'],
  [
    'ARG A=1\nARG B\nENV A=2\nRUN make',
    {},
    { Env: ['A=2'] },
    'ARG A=1',
    'ARG B',
    'ENV A=2',
    '+RUN |2 A=2 B= /bin/sh -c make # buildkit',
  ],
  ['RUN ["a", "b c"]', {}, {}, '+RUN a b c # buildkit'],
  [
    'COPY --chown=1 --chmod=755 --link --parents a b /c/',
    {},
    {},
    '+COPY --parents --chown=1 --chmod=755 a b /c/ # buildkit',
  ],
  ['COPY <<E a /x/\nhi\nE', {}, {}, '+COPY a <<E /x/ # buildkit'],
  ['ADD https://h/x ./', {}, {}, '+ADD https://h/x ./ # buildkit'],
]
for (const [text, base, config, ...history] of cases)
  test(JSON.stringify(text), async () => {
    const { config: found, history: entries = [] } = await planned(text, base)
    const { Env = [], ...others } = found ?? {}
    const variables = Env.filter(entry => !entry.startsWith('PATH='))
    assert.deepEqual({ ...others, ...(variables.length > 0 ? { Env: variables } : {}) }, config)
    const texts = entries.map(entry => `${entry.empty_layer ? '' : '+'}${entry.created_by}`)
    assert.deepEqual(texts, history)
    assert.ok(entries.every(entry => entry.comment === 'buildkit.dockerfile.v0' && !entry.created))
  })

test('labels of a request come last', async () => {
  const { config, history } = await planned('LABEL a=1 b=2', {}, { labels: { b: '3', c: '4' } })
  assert.deepEqual(config?.Labels, { a: '1', b: '3', c: '4' })
  assert.deepEqual(
    history?.map(entry => entry.created_by),
    ['LABEL a=1 b=2'],
  )
})

test('an image has a path', async () => {
  const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  assert.deepEqual((await planned('', { Env: ['A=1'] })).config?.Env, ['A=1', path])
  assert.deepEqual((await plan('FROM scratch')).image.config, { Env: [path], WorkingDir: '/' })
})

test('a maintainer is the author', async () => assert.equal((await planned('MAINTAINER me')).author, 'me'))

test('an image is for the platform that was asked for', async () => {
  const variant = { ...arm64, variant: 'v8' }
  const { image: config } = await plan('FROM --platform=$BUILDPLATFORM alpine', { targetPlatform: variant })
  assert.deepEqual([config.os, config.architecture, config.variant], ['linux', 'arm64', undefined])
  const own = await plan('FROM own', {}, { images: { 'docker.io/library/own:latest': image({}, arm64) } })
  assert.deepEqual([own.image.os, own.image.architecture, own.image.created], ['linux', 'arm64', undefined])
})

test('the history of a base stays below, and its configuration is given apart', async () => {
  const own = { ...image({ User: 'u' }), history: [{ created_by: 'before', created: 'x' }] }
  const world = { images: { 'docker.io/library/own:latest': own } }
  const { image: config, baseImage } = await plan('FROM own AS a\nUSER v\nFROM a\nUSER w', {}, world)
  assert.deepEqual(
    config.history?.map(entry => entry.created_by),
    ['before', 'USER v', 'USER w'],
  )
  assert.deepEqual([baseImage?.config?.User, baseImage?.created], ['u', '2020-01-01T00:00:00Z'])
  assert.equal(own.history.length, 1)
})

test('what a stage adds to its configuration is not in that of the stage below', async () => {
  const text = 'FROM alpine AS a\nLABEL x=1\nFROM a\nLABEL y=2\nEXPOSE 1\nFROM a\nVOLUME /v'
  const { image: config } = await plan(text)
  assert.deepEqual([config.config?.Labels, config.config?.ExposedPorts], [{ x: '1' }, undefined])
})

test('what tells how a base was made does not go on', async () => {
  const own = {
    ...image({ User: 'u', Hostname: 'h', OnBuild: [] }),
    docker_version: '1',
    container: 'c',
    container_config: { Cmd: ['x'] },
    comment: 'c',
  }
  const { image: config } = await plan('FROM own', {}, { images: { 'docker.io/library/own:latest': own } })
  assert.deepEqual(Object.keys(config).sort(), ['architecture', 'config', 'os', 'rootfs'])
  assert.deepEqual(Object.keys(config.config ?? {}).sort(), ['Env', 'User'])
})

test('a configuration may have null where there is nothing', async () => {
  const own = JSON.parse(
    '{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null},"history":null,"config":{"Env":null,"Cmd":null,"OnBuild":null,"Labels":null,"Shell":null}}',
  ) as ImageConfig
  const { image: config } = await plan(
    'FROM own\nLABEL a=1',
    {},
    { images: { 'docker.io/library/own:latest': own } },
  )
  assert.deepEqual(config.config?.Labels, { a: '1' })
  assert.equal(config.config?.Cmd, undefined)
})

test('images for Windows are refused', () =>
  assert.rejects(plan('FROM scratch', { targetPlatform: { os: 'windows', architecture: 'amd64' } }), {
    message: 'building images for Windows is not implemented by this version of Berth',
  }))
