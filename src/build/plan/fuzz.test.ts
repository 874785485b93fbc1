import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BerthError } from '../../core/errors.ts'
import { numbersFrom } from './testing/chance.ts'
import { image, plan } from './testing/fixture.ts'

/** Parts of Dockerfiles, put together by chance: a plan or an error that says what is wrong, and nothing else. */

const names = [
  'FROM',
  'ARG',
  'RUN',
  'COPY',
  'ADD',
  'ENV',
  'WORKDIR',
  'ONBUILD',
  'USER',
  'EXPOSE',
  'VOLUME',
  'CMD',
  'LABEL',
  'HEALTHCHECK',
  'STOPSIGNAL',
  'SHELL',
]
const flags = [
  '--from=a',
  '--from=0',
  '--from=alpine',
  '--link',
  '--parents',
  '--chown=$A',
  '--chmod=u+x',
  '--platform=$TARGETPLATFORM',
  '--mount=type=cache,target=/c',
  '--mount=from=a,target=x',
  '--mount=type=secret,id=s,env=A',
  '--mount=type=ssh',
  '--checksum=sha256:a',
  '--network=none',
]
const words = [
  'alpine',
  'busybox',
  'scratch',
  'own',
  'AS',
  'a',
  'b',
  'A=1',
  '$A',
  '${A:-x}',
  'https://h/%zz',
  'https://h/a.git#%',
  'git@h:a?ref=x',
  '.',
  '/',
  '../x',
  '/a/./b*',
  '["a"]',
  '80-81/udp',
  'constructor',
  '__proto__',
  '<<E',
  '1',
  'NONE',
  '"',
  '',
]

/** Whether the file of this seed can be planned. Fails where it cannot for a reason that is no error of the file. */
const isPlanned = async (seed: number): Promise<boolean> => {
  const below = numbersFrom(seed)
  const oneOf = (texts: string[]): string => texts[below(texts.length)] ?? ''
  const line = (): string =>
    [
      oneOf(names),
      ...(below(2) ? [] : [oneOf(flags)]),
      ...Array.from({ length: 1 + below(3) }, () => oneOf(words)),
    ].join(' ')
  const text = ['FROM alpine AS a', ...Array.from({ length: below(7) }, line), 'RUN b <<E', 'E'].join('\n')
  const images = {
    'docker.io/library/own:latest': image({ OnBuild: Array.from({ length: below(3) }, line) }),
  }
  const request = {
    arguments: { A: oneOf(words) },
    namedContexts: { busybox: 'local:x' },
    allStages: below(2) === 0,
  }
  try {
    const { graph } = await plan(text, request, { images })
    assert.ok(graph.result === undefined || graph.vertices.has(graph.result.vertex))
    return true
  } catch (error) {
    assert.ok(error instanceof BerthError, `${seed}: ${error instanceof Error ? error.stack : error}`)
    return false
  }
}

test('files by chance are planned, or said to be wrong', async () => {
  let planned = 0
  for (let seed = 1; seed <= 400; seed++) if (await isPlanned(seed)) planned++
  assert.ok(planned > 20, String(planned))
})

const often = ['RUN make', 'COPY a b', 'COPY --link a b', 'WORKDIR /w', 'ENV A=$A', 'ARG B=1', 'EXPOSE 1']
for (const line of often)
  test(`many lines of ${line}`, async () => {
    const { image: config } = await plan(`FROM alpine\n${`${line}\n`.repeat(1000)}`)
    assert.equal(config.history?.length, 1000)
  })

test('many stages, each with what the one before has', async () => {
  const stages = Array.from(
    { length: 3000 },
    (_, index) => `FROM scratch AS s${index + 1}\nCOPY --from=s${index} /x /x`,
  )
  const { graph } = await plan(['FROM alpine AS s0', ...stages].join('\n'))
  assert.equal(graph.vertices.size, 3001)
})
