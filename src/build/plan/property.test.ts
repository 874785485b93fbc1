import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Graph } from '../graph/types.ts'
import { numbersFrom } from './testing/chance.ts'
import { plan } from './testing/fixture.ts'

const instructions = [
  'RUN make',
  'RUN --mount=type=cache,target=/c --mount=type=bind,source=a,target=/b make $A',
  'RUN <<E\nset -e\nE',
  'COPY a b /x/',
  'COPY --link --chown=1 . .',
  'COPY --parents a/./b*/c /y/',
  'COPY <<E /e\ntext\nE',
  'ADD https://h/x.tgz /',
  'ADD https://h/x.git#v1 /g',
  'WORKDIR w',
  'USER u',
  'ENV A=$A-1',
  'ARG A=0',
  'SHELL ["/s"]',
  'LABEL a=b',
]

const bases = ['alpine', 'busybox', 'scratch']

/** A file of some stages, each built on or taking from those before. */
const fileFrom = (seed: number): string[][] => {
  const below = numbersFrom(seed)
  return Array.from({ length: 1 + below(4) }, (_, index) => {
    const names = [...bases, ...Array.from({ length: index }, (__, before) => `s${before}`)]
    const lines = [`FROM ${names[below(names.length)]} AS s${index}`]
    for (let count = below(8); count > 0; count--)
      lines.push(
        index > 0 && below(4) === 0
          ? `COPY --from=s${below(index)} /x /y`
          : (instructions[below(instructions.length)] ?? ''),
      )
    return lines
  })
}

const textOf = (stages: string[][]): string => stages.flat().join('\n')
/** Tests what holds for all files. */
const withFiles = (what: string, check: (stages: string[][]) => Promise<void>): void => {
  test(what, async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const stages = fileFrom(seed)
      try {
        await check(stages)
      } catch (error) {
        throw new Error(`of ${textOf(stages)}`, { cause: error })
      }
    }
  })
}

const keys = ({ vertices }: Graph): string[] => [...vertices.keys()]

withFiles('the same file is planned the same, and each vertex after what it takes', async stages => {
  const text = textOf(stages)
  const [one, other] = [await plan(text), await plan(text)]
  assert.deepEqual(one, other)
  const seen = new Set<string>()
  for (const { digest, inputs } of one.graph.vertices.values()) {
    for (const { vertex } of inputs) assert.ok(seen.has(vertex))
    seen.add(digest)
  }
  const { result } = one.graph
  assert.ok(!result || [...seen].at(-1) === result.vertex)
})

withFiles('where lines, names of steps or settings are others, vertices are the same', async stages => {
  const { graph } = await plan(textOf(stages))
  const moved = [['# a comment', ''], ...stages, ['LABEL late=1', 'CMD ["late"]', 'EXPOSE 1']]
  assert.deepEqual(keys((await plan(textOf(moved))).graph), keys(graph))
  const options = {
    multiPlatform: true,
    noCache: 'all' as const,
    fileName: 'other',
    arguments: { HTTP_PROXY: 'p' },
  }
  assert.deepEqual(keys((await plan(textOf(stages), options)).graph), keys(graph))
})

withFiles('one more RUN at the end leaves all before as it was', async stages => {
  const { graph } = await plan(textOf(stages))
  const { graph: longer } = await plan(textOf([...stages, ['RUN more']]))
  assert.deepEqual(keys(longer).slice(0, -1), keys(graph))
})

test('a change in a stage changes what comes after it in that stage, and nothing else', async () => {
  const text = (command: string): string =>
    `FROM alpine AS a\nRUN 1\nRUN ${command}\nFROM alpine AS b\nRUN 3\nFROM scratch\nCOPY --from=b /x /\nCOPY --from=a /x /`
  const [one, other] = await Promise.all([plan(text('2')), plan(text('two'))])
  const left = new Set(keys(other.graph))
  const changed = [...one.graph.vertices.values()].filter(({ digest }) => !left.has(digest))
  assert.deepEqual(
    changed.map(({ step: { name } }) => name),
    ['[a 3/3] RUN 2', '[stage-2 2/2] COPY --from=a /x /'],
  )
})
