import assert from 'node:assert/strict'
import { test } from 'node:test'
import { globalValues, stageValue } from './arguments.ts'
import { DockerfileError } from './errors.ts'
import { copiedFrom } from './expandInstruction.ts'
import { parseDockerfile } from './parse.ts'
import type { Lookup } from './types.ts'

const of =
  (values: Record<string, string>): Lookup =>
  name =>
    values[name]

test('global arguments are those given, else their defaults with those before', () => {
  const file = parseDockerfile('ARG a=1 b=$a-$TARGETARCH\nARG c\nARG d=$c\nARG a=2\nARG TARGETARCH\nFROM x')
  const always = of({ TARGETARCH: 'amd64' })
  const values = (given: Record<string, string>): (string | undefined)[] => {
    const lookup = globalValues(file, { given: of(given), always })
    return ['a', 'b', 'c', 'd', 'TARGETARCH'].map(lookup)
  }
  assert.deepEqual(values({}), ['2', '1-amd64', undefined, '', 'amd64'])
  assert.deepEqual(values({ a: '', c: '7' }), ['', '-amd64', '7', '7', 'amd64'])
})

test('a default that cannot be read has a place', () =>
  assert.throws(
    () => globalValues(parseDockerfile('ARG a=1\nARG b=${\nFROM x'), { given: of({}), always: of({}) }),
    (error: unknown) => error instanceof DockerfileError && error.ranges[0]?.start.line === 2,
  ))

test('arguments of a stage', () => {
  const file = parseDockerfile('FROM x\nARG a=$v-$w b')
  const [arg] = file.stages[0]?.instructions ?? []
  assert.ok(arg?.name === 'ARG')
  const value = (index: number, given: Record<string, string>, global = {}): unknown => {
    const argument = arg.arguments[index]
    assert.ok(argument)
    return stageValue(argument, { given: of(given), global: of(global), lookup: of({ v: '1' }) }, '\\')
  }
  const { value: read, unset } = value(0, {}, { a: '3' }) as { value: string; unset: string[] }
  assert.deepEqual([read, unset], ['1-', ['w']])
  assert.deepEqual(value(0, { a: '2' }), { value: '2', unset: [] })
  assert.deepEqual(value(1, {}, { b: '3' }), { value: '3', unset: [] })
  assert.deepEqual(value(1, {}), { value: undefined, unset: [] })
})

test('COPY --from has no variables', () => {
  const from = (flag: string): string | undefined => {
    const [copy] = parseDockerfile(`FROM x\nCOPY ${flag} a /b`).stages[0]?.instructions ?? []
    assert.ok(copy?.name === 'COPY')
    return copiedFrom(copy, '\\')
  }
  assert.equal(from('--from=x/y:z@w'), 'x/y:z@w')
  assert.equal(from(''), undefined)
  assert.throws(() => from('--from=$x'), /variable expansion is not supported for --from, define a new stage/)
})
