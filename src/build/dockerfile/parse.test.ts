import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DockerfileError } from './errors.ts'
import { parseDockerfile, parseInstruction } from './parse.ts'
import type { Instruction, InstructionName } from './types.ts'

/** The only instruction of a stage. */
const one = <N extends InstructionName>(name: N, text: string): Extract<Instruction, { name: N }> => {
  const [instruction, more] = parseDockerfile(`FROM a\n${text}\n`).stages[0]?.instructions ?? []
  assert.equal(more, undefined)
  assert.equal(instruction?.name, name)
  return instruction as Extract<Instruction, { name: N }>
}

const fails = (text: string, message: string | RegExp, line?: number): void => {
  assert.throws(
    () => parseDockerfile(text),
    (error: unknown) => {
      assert.ok(error instanceof DockerfileError, String(error))
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      assert.equal(error.ranges[0]?.start.line, line)
      return true
    },
  )
}

test('stages, names, platforms and meta arguments', () => {
  const file = parseDockerfile(
    [
      '# version of all',
      'ARG version=1 other',
      '# build makes it',
      'FROM --platform=$BUILDPLATFORM golang:$version AS Build',
      'RUN make',
      'from scratch',
    ].join('\n'),
  )
  assert.deepEqual(
    file.metaArguments.map(({ arguments: all }) =>
      all.map(({ name, default: value, comment }) => [name.value, value?.value, comment]),
    ),
    [
      [
        ['version', '1', 'of all'],
        ['other', undefined, undefined],
      ],
    ],
  )
  const [first, second] = file.stages
  assert.equal(first?.name?.value, 'build')
  assert.deepEqual(first.written, { as: 'AS', name: 'Build' })
  assert.equal(first.base.value, 'golang:$version')
  assert.equal(first.platform?.value, '$BUILDPLATFORM')
  assert.equal(first.comment, 'makes it')
  assert.equal(first.instructions.length, 1)
  assert.equal(second?.index, 1)
  assert.equal(second.keyword, 'from')
  assert.equal(second.name, undefined)
})

test('continuations: comments within are left out, spaces at the beginning stay, empty lines are noted', () => {
  const file = parseDockerfile('FROM a\nRUN one \\\n  # no\n  two \\ \t\n\n\\\n three\nRUN four\\\\\nCMD x\\')
  const [run, other, last] = file.stages[0]?.instructions ?? []
  assert.equal(run?.source, 'RUN one   two  three')
  assert.deepEqual(run.range, { start: { line: 2, column: 0 }, end: { line: 7, column: 6 } })
  assert.deepEqual(
    file.emptyContinuations.map(({ start }) => start.line),
    [7],
  )
  assert.equal(other?.source, 'RUN four\\\\')
  assert.equal(last?.source, 'CMD x')
})

test('the escape character is also what continues lines', () => {
  const file = parseDockerfile('#escape=`\nFROM a\nCOPY a `\n C:\\\n')
  const [copy] = file.stages[0]?.instructions ?? []
  assert.equal(file.directives.escape, '`')
  assert.ok(copy?.name === 'COPY')
  assert.equal(copy.destination.value, 'C:\\')
})

test('comments of an instruction', () => {
  const file = parseDockerfile('# a\n\n#\n# b\n  # c\n\nFROM x\n# d\nRUN y \\\n# e\n z')
  assert.deepEqual(file.stages[0]?.comments, ['b', 'c'])
  assert.deepEqual(file.stages[0]?.instructions[0]?.comments, ['d'])
})

test('line ends of Windows and a byte order mark are no part of the text', () => {
  const file = parseDockerfile('\ufeff# check=skip=all\r\nFROM a\r\nRUN b \\\r\n c\r\nWORKDIR /x\r\n')
  const [run, workdir] = file.stages[0]?.instructions ?? []
  assert.equal(file.directives.check?.value, 'skip=all')
  assert.equal(run?.source, 'RUN b  c')
  assert.ok(workdir?.name === 'WORKDIR')
  assert.equal(workdir.path.value, '/x')
})

test('parts know their places, also over lines', () => {
  const { sources, destination } = one('COPY', 'COPY --link \\\n  a \\\n  b /c')
  assert.deepEqual(
    sources.map(source => source.kind === 'path' && source.path.range.start),
    [
      { line: 3, column: 2 },
      { line: 4, column: 2 },
    ],
  )
  assert.deepEqual(destination.range, { start: { line: 4, column: 4 }, end: { line: 4, column: 6 } })
  const json = one('VOLUME', 'VOLUME ["/a", "/b\\"c"]')
  assert.deepEqual(
    json.volumes.map(({ value, range }) => [value, range.start.column, range.end.column]),
    [
      ['/a', 8, 12],
      ['/b"c', 14, 21],
    ],
  )
})

test('ADD and COPY with all their flags', () => {
  const add = one(
    'ADD',
    'ADD --chown=1:2 --chmod=$m --link --checksum=sha256:x --keep-git-dir=false --unpack --exclude=a --exclude=b c /d',
  )
  assert.equal(add.chown?.value, '1:2')
  assert.equal(add.chmod?.value, '$m')
  assert.equal(add.link, true)
  assert.equal(add.checksum?.value, 'sha256:x')
  assert.equal(add.keepGitDir, false)
  assert.equal(add.unpack, true)
  assert.deepEqual(
    add.exclude.map(({ value }) => value),
    ['a', 'b'],
  )
  const copy = one('COPY', 'COPY --from=x --parents --link=FALSE ["a b", "/c d"]')
  assert.equal(copy.from?.value, 'x')
  assert.equal(copy.parents, true)
  assert.equal(copy.link, false)
  assert.deepEqual(copy.flags, ['from', 'parents', 'link'])
  assert.equal(copy.destination.value, '/c d')
})

test('flags end at -- and may be quoted', () => {
  assert.equal(one('COPY', 'COPY --link -- --a /b').destination.value, '/b')
  assert.equal(one('COPY', 'COPY --chown="a b" c /d').chown?.value, 'a b')
  assert.equal(one('COPY', "COPY --chown=a\\ b'c' c /d").chown?.value, 'a bc')
})

test('exec and shell forms', () => {
  assert.deepEqual(one('CMD', 'CMD ["a", "b c"]').command, { form: 'exec', words: ['a', 'b c'] })
  assert.deepEqual(one('CMD', 'CMD []').command, { form: 'exec', words: [] })
  for (const script of ['a  "b"', "['a']", '["a"', '["a"] b', '[ $x ]', ''])
    assert.deepEqual(one('ENTRYPOINT', `ENTRYPOINT ${script}`).command, {
      form: 'shell',
      script,
      heredocs: [],
    })
  assert.deepEqual(one('SHELL', 'SHELL ["bash", "-c"]').shell, ['bash', '-c'])
  assert.deepEqual(one('RUN', 'RUN ["<<EOF"]').command, { form: 'exec', words: ['<<EOF'] })
})

test('RUN with its flags', () => {
  const run = one(
    'RUN',
    'RUN --mount=type=$t,from=base,"target=/a,b" --mount=type=cache --network=none --security=insecure --device=x.org/y=z,required make',
  )
  assert.deepEqual(
    run.mounts.map(({ text, from }) => [text.value, from]),
    [
      ['type=$t,from=base,target=/a,b', 'base'],
      ['type=cache', undefined],
    ],
  )
  assert.equal(run.network?.value, 'none')
  assert.equal(run.security?.value, 'insecure')
  assert.deepEqual(
    run.devices.map(({ name, required }) => [name, required]),
    [['x.org/y=z', true]],
  )
  assert.deepEqual(run.command, { form: 'shell', script: 'make', heredocs: [] })
})

test('heredocs of COPY', () => {
  const copy = one('COPY', 'COPY <<a.txt <<-"b" c /d\n$x\n  a.txt\na.txt\n\t\tone\n\ttwo\n\tb')
  assert.deepEqual(
    copy.sources.map(source =>
      source.kind === 'path'
        ? source.path.value
        : [source.heredoc.name, source.heredoc.content, source.heredoc.expand],
    ),
    [['a.txt', '$x\n  a.txt\n', true], ['b', 'one\ntwo\n', false], 'c'],
  )
  assert.equal(copy.source, 'COPY <<a.txt <<-"b" c /d')
  assert.deepEqual(copy.range.end, { line: 8, column: 2 })
})

const scripts: [text: string, script: string, file?: string][] = [
  ['RUN <<EOF\na\nb\nEOF', 'a\nb\n'],
  ['RUN <<-EOF\n\ta\n\tEOF', 'a\n'],
  ['RUN <<EOF\nEOF', ''],
  ['RUN <<EOF\r\na\r\nEOF\r', 'a\r\n'],
  ['RUN <<EOF\n#!/bin/x\na\nEOF', '/dev/pipes/EOF', '#!/bin/x\na\n'],
  ['RUN <<EOF python3\na\nEOF', '<<EOF python3\na\nEOF'],
  ['RUN 3<<A cat <<-B\n1\nA\n\t2\n\tB', '3<<A cat <<-B\n1\nA\n\t2\nB'],
  ["RUN <<'one two'\na\none two", 'a\n'],
  ['RUN <<$EOF\na\n$EOF', 'a\n'],
  ['RUN <<  EOF\na\nEOF', 'a\n'],
  ['RUN echo "<<EOF"', 'echo "<<EOF"'],
  ['RUN echo <<<EOF', 'echo <<<EOF'],
  ["RUN echo it's <<EOF", "echo it's <<EOF"],
  ['RUN echo \\<<EOF', 'echo \\<<EOF'],
  ['RUN <<EOF\n# no comment\na \\\nEOF', '# no comment\na \\\n'],
]
for (const [text, script, content] of scripts)
  test(`${JSON.stringify(text)} is a script`, () => {
    const { command } = one('RUN', text)
    assert.ok(command.form === 'shell')
    assert.equal(command.script, script)
    assert.deepEqual(command.file, content === undefined ? undefined : { name: 'EOF', content })
  })

test('ENV and LABEL', () => {
  const pairs = (text: string): unknown[] => {
    const instruction = text.startsWith('ENV') ? one('ENV', text) : one('LABEL', text)
    return instruction.pairs.map(({ key, value, legacy }) => [key.value, value.value, legacy])
  }
  assert.deepEqual(pairs('ENV a=b c="d e" f=\\ g h='), [
    ['a', 'b', false],
    ['c', '"d e"', false],
    ['f', '\\ g', false],
    ['h', '', false],
  ])
  assert.deepEqual(pairs('ENV a  b=c  d'), [['a', 'b=c  d', true]])
  assert.deepEqual(pairs('LABEL "a b"=c'), [['"a b"', 'c', false]])
  assert.deepEqual(pairs("ENV a='x\\' b=y\\"), [
    ['a', "'x\\'", false],
    ['b', 'y', false],
  ])
})

test('ARG', () => {
  const all = one('ARG', '# b of it\nARG a b="x y" c=').arguments
  assert.deepEqual(
    all.map(({ name, default: value, comment }) => [name.value, value?.value, comment]),
    [
      ['a', undefined, undefined],
      ['b', '"x y"', 'of it'],
      ['c', '', undefined],
    ],
  )
})

test('HEALTHCHECK', () => {
  assert.deepEqual(one('HEALTHCHECK', 'HEALTHCHECK none').health, { Test: ['NONE'] })
  assert.deepEqual(
    one(
      'HEALTHCHECK',
      'HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=5ms --start-interval=1h --retries=3 CMD curl -f x',
    ).health,
    {
      Test: ['CMD-SHELL', 'curl -f x'],
      Interval: 90e9,
      Timeout: 1.5e9,
      StartPeriod: 5e6,
      StartInterval: 3600e9,
      Retries: 3,
    },
  )
  assert.deepEqual(one('HEALTHCHECK', 'HEALTHCHECK --interval=0s cmd ["a", "b"]').health, {
    Test: ['CMD', 'a', 'b'],
  })
})

test('the other instructions', () => {
  assert.deepEqual(
    one('EXPOSE', 'EXPOSE 90/udp  $p 80').ports.map(({ value }) => value),
    ['$p', '80', '90/udp'],
  )
  assert.deepEqual(
    one('VOLUME', 'VOLUME /a /b').volumes.map(({ value }) => value),
    ['/a', '/b'],
  )
  assert.equal(one('USER', 'USER a:b').user.value, 'a:b')
  assert.equal(one('WORKDIR', 'WORKDIR /a b').path.value, '/a b')
  assert.equal(one('STOPSIGNAL', 'stopsignal 9').signal.value, '9')
  assert.equal(one('MAINTAINER', 'MAINTAINER Me <me@x>').maintainer.value, 'Me <me@x>')
})

test('ONBUILD keeps its expression, which is read for the stage that triggers it', () => {
  assert.equal(one('ONBUILD', 'ONBUILD run a \\\n b ').expression, 'run a  b ')
  const { expression } = one('ONBUILD', 'OnBuild COPY <<EOF /x\n$a\nEOF')
  assert.equal(expression, 'COPY <<EOF /x\n$a\nEOF')
  const place = { start: { line: 7, column: 0 }, end: { line: 7, column: 6 } }
  const copy = parseInstruction(expression, place)
  assert.ok(copy.name === 'COPY')
  const [source] = copy.sources
  assert.ok(source?.kind === 'heredoc')
  assert.equal(source.heredoc.content, '$a\n')
  assert.deepEqual([copy.range, source.heredoc.range, copy.destination.range], [place, place, place])
  assert.throws(
    () => parseInstruction('FOO', place),
    (error: unknown) => error instanceof DockerfileError && error.ranges[0] === place,
  )
  assert.throws(() => parseInstruction('RUN a\nRUN b'), /onbuild trigger should be a single expression/)
})

const wholeFile: [text: string, message: string, line?: number][] = [
  ['', 'the Dockerfile cannot be empty'],
  ['\n# only this\n', 'file with no instructions', 2],
  ['ARG a', 'dockerfile contains no stages to build'],
  ['RUN a\nFROM b', 'no build stage in current context', 1],
  ['#escape=x\nFROM a', "invalid escape token 'x' does not match ` or \\", 1],
  ['#escape=`\n# escape=`\nFROM a', 'only one escape parser directive can be used', 2],
  ['#syntax=a\n#SYNTAX=b\nFROM a', 'only one syntax parser directive can be used', 2],
  ['FROM a\nRUN <<EOF\nx', 'unterminated heredoc', 2],
  ['FROM a\nFOO\nRUN <<EOF', 'unterminated heredoc', 3],
  [`FROM a\nRUN ${'x'.repeat(70_000)}`, 'dockerfile line greater than max allowed size of 65535', 2],
  ['FROM a\nENV b', 'ENV must have two arguments', 2],
  ['FROM a\nLABEL b', 'LABEL must have two arguments', 2],
  ['FROM a\nENV a=b c', `Syntax error - can't find = in "c". Must be of the form: name=value`, 2],
  ['FROM a\nONBUILD ENV b', 'ENV must have two arguments', 2],
  ['FROM a\nCMD ["a", 1]', 'when using JSON array syntax, arrays must be comprised of strings only', 2],
]
for (const [text, message, line] of wholeFile)
  test(`${JSON.stringify(text.slice(0, 30))}: ${message}`, () => fails(text, message, line))

const lines: [text: string, message: string][] = [
  ['RUM a', 'unknown instruction: RUM (did you mean RUN?)'],
  ['rum a', 'unknown instruction: rum (did you mean run?)'],
  ['Rum a', 'unknown instruction: Rum (did you mean run?)'],
  ['WORKDRI a', 'unknown instruction: WORKDRI (did you mean WORKDIR?)'],
  ['\u017fHELL ["a"]', 'unknown instruction: \u017fHELL (did you mean shell?)'],
  ['constructor a', 'unknown instruction: constructor'],
  ['"a', 'unknown instruction: "a'],
  ['COPY --chwon=a b c', 'unknown flag: --chwon (did you mean chown?)'],
  ['COPY --constructor=a b c', 'unknown flag: --constructor'],
  ['ADD --from=a b c', 'unknown flag: --from'],
  ['COPY --chown b c', 'missing a value on flag: --chown'],
  ['COPY --link= b c', 'missing a value on flag: --link'],
  ['COPY --link=x b c', 'expecting boolean value for flag --link, not: x'],
  ['COPY --chown=a --chown=b c d', 'duplicate flag specified: --chown'],
  ['ENV --x a=b', 'unknown flag: --x'],
  ['ONBUILD --x RUN a', 'unknown flag: --x'],
  ['FROM --platfrm=a b', 'unknown flag: --platfrm (did you mean platform?)'],
  ['FROM', 'FROM requires either one or three arguments'],
  ['FROM a b', 'FROM requires either one or three arguments'],
  ['FROM a to b', 'FROM requires either one or three arguments'],
  ['FROM a AS 1b', 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols'],
  [
    'ADD a',
    'ADD requires at least two arguments, but only one was provided. Destination could not be determined',
  ],
  [
    'COPY',
    'COPY requires at least two arguments, but only one was provided. Destination could not be determined',
  ],
  ['COPY a <<EOF\nEOF', 'COPY cannot accept a heredoc as a destination'],
  ['ENV', 'ENV requires at least one argument'],
  ['LABEL', 'LABEL requires at least one argument'],
  ['ENV =b', 'ENV names can not be blank'],
  ['LABEL a=b =c', 'LABEL names can not be blank'],
  ['ARG', 'ARG requires at least one argument'],
  ['ARG =a', 'ARG names can not be blank'],
  ['EXPOSE', 'EXPOSE requires at least one argument'],
  ['VOLUME', 'VOLUME requires at least one argument'],
  ['VOLUME [" "]', 'VOLUME specified can not be an empty string'],
  ['USER', 'USER requires exactly one argument'],
  ['WORKDIR', 'WORKDIR requires exactly one argument'],
  ['STOPSIGNAL', 'STOPSIGNAL requires exactly one argument'],
  ['MAINTAINER', 'MAINTAINER requires exactly one argument'],
  ['SHELL', 'SHELL requires at least one argument'],
  ['SHELL []', 'SHELL requires at least one argument'],
  ['SHELL a', 'SHELL requires the arguments to be in JSON form'],
  ['ONBUILD', 'ONBUILD requires at least one argument'],
  ['ONBUILD ONBUILD RUN a', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
  ['ONBUILD FROM a', "FROM isn't allowed as an ONBUILD trigger"],
  ['ONBUILD maintainer a', "MAINTAINER isn't allowed as an ONBUILD trigger"],
  ['HEALTHCHECK', 'HEALTHCHECK requires at least one argument'],
  ['HEALTHCHECK NONE a', 'HEALTHCHECK NONE takes no arguments'],
  ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
  ['HEALTHCHECK ls', 'Unknown type "LS" in HEALTHCHECK (try CMD)'],
  ['HEALTHCHECK --interval=1ns CMD a', 'Interval "interval" cannot be less than 1ms'],
  ['HEALTHCHECK --timeout=-1s CMD a', 'Interval "timeout" cannot be less than 1ms'],
  ['HEALTHCHECK --interval=x CMD a', 'time: invalid duration "x"'],
  ['HEALTHCHECK --interval=5 CMD a', 'time: missing unit in duration "5"'],
  ['HEALTHCHECK --interval=5x CMD a', 'time: unknown unit "x" in duration "5x"'],
  ['HEALTHCHECK --retries=x CMD a', 'strconv.ParseInt: parsing "x": invalid syntax'],
  ['HEALTHCHECK --retries=-1 CMD a', '--retries cannot be negative (-1)'],
  ['HEALTHCHECK --retries=3000000000 CMD a', 'strconv.ParseInt: parsing "3000000000": value out of range'],
  ['RUN --network=x a', 'invalid network mode "x"'],
  ['RUN --security= a', 'security "" is not valid'],
  ['RUN --mount=from=$x a', "'from' doesn't support variable expansion, define alias stage instead"],
  ['RUN --mount= a', 'failed to parse csv mounts: EOF'],
  [
    'RUN --mount=a\\"b a',
    'failed to parse csv mounts: parse error on line 1, column 2: bare " in non-quoted field',
  ],
  [
    'RUN --mount=\\"a a',
    'failed to parse csv mounts: parse error on line 1, column 2: extraneous or missing " in quoted-field',
  ],
  ['RUN --device=a,b a', "invalid field 'b' must be a key=value pair"],
  ['RUN --device=name=a,name=b a', 'device name already set to a'],
  ['RUN --device=a,required=x a', 'invalid value for required: x'],
  ['RUN --device=a,requird=true a', "unexpected key 'requird' in 'requird=true' (did you mean required?)"],
]
for (const [text, message] of lines)
  test(`${JSON.stringify(text)}: ${message}`, () =>
    fails(`FROM a\n\n${text}`, `dockerfile parse error on line 3: ${message}`, 3))
