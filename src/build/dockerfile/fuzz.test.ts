import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DockerfileError, excerpt } from './errors.ts'
import { expandInstruction } from './expandInstruction.ts'
import { parseDockerfile } from './parse.ts'
import type { Dockerfile, Instruction, Range, Stage } from './types.ts'

const tokens = [
  'FROM a\n|FROM a AS b\n|from |ARG x=1|RUN |COPY |ADD |ENV |ENV a b|LABEL a="b c"|CMD |ENTRYPOINT |SHELL ',
  'HEALTHCHECK CMD |HEALTHCHECK NONE|ONBUILD |VOLUME |EXPOSE 1 |USER u|WORKDIR /w|STOPSIGNAL 9|MAINTAINER m',
  '["a", "b"]|[|--link |--from=b |--|--mount=type=cache,target=/x |--interval=1s ',
  "<<EOF|<<-E|<<'E'|\nEOF\n|\nE\n|# c\n|\\\n|\\\r\n|`\n|\n|\n\n|\r| |\t|\"|'|\\|$x|${x:-y}|=|a|é|👍|\u2028",
  '# escape=`\n|# check=skip=all\n|#syntax=a/b\n|\ufeff|\0',
].flatMap(some => some.split('|'))
const text = fc
  .array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...tokens) }, fc.string({ maxLength: 4 })), {
    maxLength: 40,
  })
  .map(parts => parts.join(''))
const instructions = [
  'RUN a "b c"|RUN --mount=type=cache,target=/x --network=none a|RUN ["a", "b"]|RUN <<EOF\n# a \\\n\nEOF',
  'RUN <<-E cat <<F\n\tx\n\tE\n$y\nF|run a && b|ONBUILD RUN a|ONBUILD COPY <<EOF /x\nEOF|COPY --link a b /c',
  'COPY <<EOF <<E /d\n1\nEOF\n2\nE|ADD --checksum=x a b|ENV a=b c="d e"|ENV a b|LABEL x=\'y\'|ARG a b=c|CMD ["a"]',
  'CMD a|ENTRYPOINT b|HEALTHCHECK --retries=2 CMD a|EXPOSE 80 $p|VOLUME ["/a", "/b"]|USER a|WORKDIR $x/y',
  'STOPSIGNAL 9|MAINTAINER é 👍|SHELL ["a"]|FROM b AS c|# c\n|',
].flatMap(some => some.split('|'))
/** A gap that is a continuation may also stand in a text or a heredoc, and change it. */
const gapped = fc
  .tuple(fc.constantFrom(...instructions), fc.constantFrom(' ', ' ', ' \\\n', '\\\n # c\n\t', ' \\\r\n\n'))
  .map(([line, gap]) => line.replace(' ', gap))
const whole = fc
  .tuple(fc.array(gapped, { maxLength: 8 }), fc.constantFrom('\n', '\r\n', '\n\n'), text)
  .map(([lines, end, tail]) => lines.join(end) + (tail.length < 9 ? tail : ''))
/** Most of these are whole files. */
const likely = fc
  .tuple(fc.constantFrom('', '# escape=`\n', '\ufeff', 'ARG g\n'), fc.oneof(text, whole, whole))
  .map(([head, rest]) => `${head}FROM base\n${rest}`)

const parse = (source: string): Dockerfile | undefined => {
  try {
    return parseDockerfile(source)
  } catch (error) {
    assert.ok(error instanceof DockerfileError, `${String(error)} for ${JSON.stringify(source)}`)
    excerpt(source, error.ranges)
    return undefined
  }
}

/** What stands in a range of a text. */
const textIn = (source: string, { start, end }: Range): string => {
  const lines = source.replace(/^\ufeff/, '').split('\n')
  const part = lines.slice(start.line - 1, end.line)
  const last = (part.at(-1) ?? '').slice(0, end.column)
  if (part.length === 1) return last.slice(start.column)
  return [(part[0] ?? '').slice(start.column), ...part.slice(1, -1), last].join('\n')
}

/** Places and comments are not compared. */
const compared = (key: string, value: unknown): unknown =>
  key === 'range' || key === 'comments' || key === 'comment' ? undefined : value
const meaning = (part: Instruction | Stage): string =>
  JSON.stringify({ ...part, index: 0, instructions: [] }, compared)

test('any text is a tree or a DockerfileError', () => {
  fc.assert(
    fc.property(fc.oneof(text, likely), source => {
      parse(source)
    }),
    { numRuns: 3000 },
  )
})

test('the text in the range of an instruction is what it was read from', () => {
  let count = 0
  fc.assert(
    fc.property(likely, source => {
      const file = parse(source)
      if (!file) return
      const directive = file.directives.escape === '`' ? '# escape=`\n' : ''
      for (const stage of file.stages) {
        const head = parseDockerfile(`${directive}${textIn(source, stage.range)}`)
        assert.equal(meaning(head.stages[0] ?? stage), meaning(stage))
        for (const instruction of stage.instructions) {
          const again = parseDockerfile(`${directive}FROM x\n${textIn(source, instruction.range)}`)
          const [read, more] = again.stages[0]?.instructions ?? []
          assert.ok(read)
          assert.equal(more, undefined)
          assert.equal(meaning(read), meaning(instruction))
          count++
        }
      }
    }),
    { numRuns: 3000 },
  )
  assert.ok(count > 500, `only ${count} were compared`)
})

test('a word without quotes stands in its range as it is', () => {
  const words = fc.array(fc.stringMatching(/^[a-z/.$]{1,8}$/), { minLength: 2, maxLength: 6 })
  const gap = fc.constantFrom(' ', '  ', ' \\\n', ' \\\n \\\n# c\n\t')
  fc.assert(
    fc.property(words, gap, (all, space) => {
      const source = `FROM a\nCOPY${space}${all.join(space)}`
      const [copy] = parseDockerfile(source).stages[0]?.instructions ?? []
      assert.ok(copy?.name === 'COPY')
      const texts = copy.sources.flatMap(part => (part.kind === 'path' ? part.path : []))
      for (const part of [...texts, copy.destination]) assert.equal(textIn(source, part.range), part.value)
      assert.deepEqual(
        [...texts, copy.destination].map(({ value }) => value),
        all,
      )
    }),
  )
})

test('expanding has a result or is a DockerfileError', () => {
  fc.assert(
    fc.property(likely, source => {
      for (const instruction of parse(source)?.stages[0]?.instructions ?? [])
        try {
          expandInstruction(instruction, name => (name === 'x' ? 'value' : undefined), '\\')
        } catch (error) {
          assert.ok(error instanceof DockerfileError && error.ranges.length > 0, String(error))
        }
    }),
    { numRuns: 1000 },
  )
})

/** Each line of the file is short enough; joined they are long. */
const long = (part: string, times = 1_000_000 / part.length): string => {
  const perLine = Math.max(1, Math.floor(30_000 / part.length))
  const lines = Array.from({ length: Math.ceil(times / perLine) }, () => part.repeat(perLine))
  return lines.join('\\\n')
}

const limit = 60_000
for (const [what, source] of [
  ['spaces', `FROM a\nCOPY ${long(' ')}b /c`],
  ['spaces behind a heredoc mark', `FROM a\nRUN <<${long(' ')}<`],
  ['quotes', `FROM a\nENV x=${long("'a' ")}`],
  ['brackets', `FROM a\nCMD ${long('[')}`],
  ['strings', `FROM a\nCMD [${long('"a",')}"b"]`],
  ['one string', `FROM a\nCMD ["${long('a\\\\')}"]`],
  ['flags', `FROM a\nCOPY ${long('--exclude=a ')} b /c`],
  ['chained triggers', `FROM a\n${long('ONBUILD ')} RUN a`],
  ['heredoc marks', `FROM a\nRUN ${long('<<E ')}`],
  ['heredocs', `FROM a\nCOPY ${long('<<E ', 100_000)} /b\n${'E\n'.repeat(120_000)}`],
  ['pairs', `FROM a\nENV ${long('a=b ')}`],
  ['substitutions', `FROM a\nWORKDIR ${long('${')}`],
  ['directives', `#${' '.repeat(60_000)}escape\nFROM a`],
  ['comments', `FROM a\n${'#\n'.repeat(300_000)}RUN a`],
  ['continuations', `FROM a\nRUN a ${'\\\n\n'.repeat(300_000)}b`],
  ['durations', `FROM a\nHEALTHCHECK --interval=${long('1h1.')} CMD a`],
  ['device fields', `FROM a\nRUN --device=${long('a,')} b`],
] as const)
  test(`a long line of ${what} is read in time that grows with its length`, { timeout: limit }, () => {
    for (const instruction of parse(source)?.stages[0]?.instructions ?? [])
      try {
        expandInstruction(instruction, () => undefined, '\\')
      } catch (error) {
        assert.ok(error instanceof DockerfileError)
      }
  })
