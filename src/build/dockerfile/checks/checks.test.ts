import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DockerfileError } from '../errors.ts'
import { expandInstruction } from '../expandInstruction.ts'
import { IgnoreMatcher } from '../ignore.ts'
import { parseDockerfile } from '../parse.ts'
import type { Lookup } from '../types.ts'
import { type Checker, checkerOf } from './checker.ts'
import { checkCopyIgnored, checkPort } from './context.ts'
import { checkFile } from './file.ts'
import { rules } from './rules.ts'
import { checkInstruction, stageState } from './stage.ts'
import { checkBasePlatform, checkDefaultBases, checkFromValues, checkUnset } from './values.ts'

type Found = [rule: string, message: string, line: number]

const foundBy = ({ warnings }: Checker): Found[] =>
  warnings.map(({ rule, message, ranges }) => [rule, message, ranges[0]?.start.line ?? 0])

/** What all checks find that need no values. */
const found = (text: string, imageHasShell = false): Found[] => {
  const file = parseDockerfile(text)
  const checker = checkerOf(file)
  checkFile(checker, file)
  for (const stage of file.stages) {
    const state = stageState(undefined, imageHasShell)
    for (const instruction of stage.instructions) checkInstruction(checker, state, instruction)
  }
  return foundBy(checker)
}

const secret = (instruction: string, name: string, line = 2): Found => [
  'SecretsUsedInArgOrEnv',
  `Do not use ARG or ENV instructions for sensitive data (${instruction} "${name}")`,
  line,
]
const casing = (word: string, right: string, line: number): Found => [
  'ConsistentInstructionCasing',
  `Command '${word}' should match the case of the command majority (${right})`,
  line,
]
const json = (word: string, line = 2): Found => [
  'JSONArgsRecommended',
  `JSON arguments recommended for ${word} to prevent unintended behavior related to OS signals`,
  line,
]
const legacy = (word: string): Found => [
  'LegacyKeyValueFormat',
  `"${word} key=value" should be used instead of legacy "${word} key value" format`,
  2,
]
const multiple = (word: string, line: number): Found => [
  'MultipleInstructionsDisallowed',
  `Multiple ${word} instructions should not be used in the same stage because only the last one will be used`,
  line,
]
const description = (instruction: string, example: string, line: number): Found => [
  'InvalidDefinitionDescription',
  `Comment for ${instruction} should follow the format: \`# ${example} <description>\``,
  line,
]

const cases: [text: string, ...Found[]][] = [
  ['FROM a AS b\nRUN c'],
  ['FROM a AS Bc', ['StageNameCasing', "Stage name 'Bc' should be lowercase", 1]],
  ['FROM a as b', ['FromAsCasing', "'as' and 'FROM' keywords' casing do not match", 1]],
  ['FROM a As b', ['FromAsCasing', "'As' and 'FROM' keywords' casing do not match", 1]],
  ['from a AS b', ['FromAsCasing', "'AS' and 'from' keywords' casing do not match", 1]],
  ['From a as b', casing('From', 'uppercase', 1)],
  ['FROM a\nRUN b \\\n\n c', ['NoEmptyContinuation', 'Empty continuation line', 4]],
  ['FROM a\nrun b\nRUN c', casing('run', 'uppercase', 2)],
  ['from a\nrun b\nRUN c\nUser d', casing('RUN', 'lowercase', 3), casing('User', 'lowercase', 4)],
  ['from a\nRUN b', casing('from', 'uppercase', 1)],
  [
    'FROM a AS scratch',
    ['ReservedStageName', 'Stage name should not use the same name as reserved stage "scratch"', 1],
  ],
  [
    'FROM a AS context',
    ['ReservedStageName', 'Stage name should not use the same name as reserved stage "context"', 1],
  ],
  [
    'FROM a AS b\nFROM a AS c\nFROM a AS b',
    ['DuplicateStageName', 'Duplicate stage name "b", stage names should be unique', 3],
  ],
  [
    'FROM a\nMAINTAINER b',
    ['MaintainerDeprecated', 'Maintainer instruction is deprecated in favor of using label', 2],
  ],
  ['FROM a\nCMD b', json('CMD')],
  ['FROM a\nENTRYPOINT b', json('ENTRYPOINT')],
  ['FROM a\nCMD ["b"]'],
  ['FROM a\nSHELL ["b"]\nCMD c'],
  ['FROM a\nCMD ["b"]\nCMD ["c"]\nCMD ["d"]', multiple('CMD', 2), multiple('CMD', 3)],
  ['FROM a\nENTRYPOINT ["b"]\nENTRYPOINT ["c"]', multiple('ENTRYPOINT', 2)],
  ['FROM a\nHEALTHCHECK CMD b\nHEALTHCHECK NONE', multiple('HEALTHCHECK', 2)],
  ['FROM a\nCMD ["b"]\nFROM a\nCMD ["c"]'],
  ['FROM a\nENV b c', legacy('ENV')],
  ['FROM a\nLABEL b c', legacy('LABEL')],
  [
    'FROM a\nWORKDIR b\nWORKDIR c',
    ['WorkdirRelativePath', 'Relative workdir "b" can have unexpected results if the base image changes', 2],
  ],
  ['FROM a\nWORKDIR /b\nWORKDIR c'],
  ['FROM a\nARG API_KEY', secret('ARG', 'API_KEY')],
  ['FROM a\nENV github_TOKEN=x auth=y', secret('ENV', 'github_TOKEN'), secret('ENV', 'auth')],
  ['FROM a\nENV PUBLIC_KEY=x PASSWORD_FILE=y token_version=z monkey=w KEYS=v'],
  ['# check=skip=JSONArgsRecommended\nFROM a\nCMD b'],
  ['# check=skip=all\nFROM a as B\nCMD b\nENV c d'],
  ['FROM a\n# check=skip=JSONArgsRecommended\nCMD b\nENTRYPOINT c', json('ENTRYPOINT', 4)],
  ['FROM a\n# check=skip=FromAsCasing\nCMD b', json('CMD', 3)],
  ['FROM a\n# check=nonsense\nCMD b', json('CMD', 3)],
  ['# what\nARG a\n# other\nFROM b AS c'],
  [
    '# check=experimental=InvalidDefinitionDescription\n# what\nARG a\n# x\nARG b c\n# other\nFROM b AS c\n#\nARG d\n# e is\nARG e',
    description('ARG', 'a', 3),
    description('ARG', '<arg_key>', 5),
    description('FROM', 'c', 7),
  ],
  ['# check=skip=all;experimental=all\n# what\nARG a\nFROM b', description('ARG', 'a', 3)],
]
for (const [text, ...expected] of cases)
  test(`${JSON.stringify(text)}: ${expected.map(([rule]) => rule).join(', ') || 'nothing'}`, () =>
    assert.deepEqual(found(text), expected))

test('a shell of the base image is meant to be used', () =>
  assert.deepEqual(found('FROM a\nCMD b', true), []))

test('what a stage is built on may have set its folder', () => {
  const file = parseDockerfile('FROM a AS b\nWORKDIR /c\nSHELL ["d"]\nFROM b\nWORKDIR e\nCMD f')
  const checker = checkerOf(file)
  const below = stageState()
  for (const instruction of file.stages[0]?.instructions ?? []) checkInstruction(checker, below, instruction)
  const state = stageState(below)
  for (const instruction of file.stages[1]?.instructions ?? []) checkInstruction(checker, state, instruction)
  assert.deepEqual(foundBy(checker), [])
})

test('a finding tells of its rule', () => {
  const file = parseDockerfile('FROM a as b')
  const checker = checkerOf(file)
  checkFile(checker, file)
  assert.deepEqual(checker.warnings, [
    {
      rule: 'FromAsCasing',
      message: "'as' and 'FROM' keywords' casing do not match",
      description: "The 'as' keyword should match the case of the 'from' keyword",
      url: 'https://docs.docker.com/go/dockerfile/rule/from-as-casing/',
      ranges: [{ start: { line: 1, column: 0 }, end: { line: 1, column: 11 } }],
    },
  ])
  assert.equal(checker.failure, undefined)
  assert.equal(new Set(Object.values(rules).map(({ name }) => name)).size, 22)
})

test('findings fail the build where the file says so', () => {
  const failure = (text: string): DockerfileError | undefined => {
    const file = parseDockerfile(text)
    const checker = checkerOf(file)
    checkFile(checker, file)
    return checker.failure
  }
  assert.equal(failure('# check=error=true\nFROM a AS b'), undefined)
  assert.equal(failure('# check=skip=all;error=true\nFROM a as b'), undefined)
  const error = failure('# check=error=true;skip=X\nFROM a as B\nFROM c as d')
  assert.equal(error?.message, 'lint violation found for rules: StageNameCasing, FromAsCasing')
  assert.deepEqual(
    error.ranges.map(({ start }) => start.line),
    [2, 2, 3],
  )
})

const wrongSettings: [value: string, message: string][] = [
  ['skip', 'invalid check option "skip"'],
  ['skip=a;', 'invalid check option ""'],
  ['what=a', 'invalid check option "what"'],
  ['error=x', 'failed to parse check option "error=x": strconv.ParseBool: parsing "x": invalid syntax'],
]
for (const [value, message] of wrongSettings)
  test(`check=${value}: ${message}`, () =>
    assert.throws(() => checkerOf(parseDockerfile(`# check=${value}\nFROM a`)), {
      message: `failed to parse check options: ${message}`,
    }))

test('settings of a caller stand for those of the file', () => {
  const file = parseDockerfile('# check=skip=all;error=true\nFROM a as b')
  const checker = checkerOf(file, { skip: ['StageNameCasing'], experimental: [], error: false })
  checkFile(checker, file)
  assert.equal(checker.warnings.length, 1)
  assert.equal(checker.failure, undefined)
})

const valuesOf =
  (values: Record<string, string>): Lookup =>
  name =>
    values[name]

/** What the checks of FROM find with these values of arguments. */
const inFrom = (text: string, values: Record<string, string>, known: string[] = []): Found[] => {
  const file = parseDockerfile(text)
  const checker = checkerOf(file)
  const names = [...Object.keys(values), ...known]
  for (const stage of file.stages)
    checkFromValues(checker, stage, { lookup: valuesOf(values), known: names, escape: '\\' })
  return foundBy(checker)
}

test('UndefinedArgInFrom', () => {
  const undeclared = (name: string, meant = ''): Found => [
    'UndefinedArgInFrom',
    `FROM argument '${name}' is not declared${meant}`,
    1,
  ]
  assert.deepEqual(inFrom('FROM a:$tag', { tag: '1' }), [])
  assert.deepEqual(inFrom('FROM a:$tag', {}, ['tag']), [])
  assert.deepEqual(inFrom('FROM a:$other', {}), [undeclared('other')])
  assert.deepEqual(inFrom('FROM a:$tga', { tag: '1' }), [undeclared('tga', ' (did you mean tag?)')])
  assert.deepEqual(inFrom('FROM --platform=$x a', {}), [undeclared('x')])
})

test('RedundantTargetPlatform and FromPlatformFlagConstDisallowed', () => {
  const platforms = { TARGETPLATFORM: 'linux/amd64', BUILDPLATFORM: 'linux/arm64' }
  assert.deepEqual(inFrom('FROM --platform=$TARGETPLATFORM a', platforms), [
    [
      'RedundantTargetPlatform',
      'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
      1,
    ],
  ])
  assert.deepEqual(inFrom('FROM --platform=$BUILDPLATFORM a', platforms), [])
  assert.deepEqual(inFrom('FROM --platform=${TARGETPLATFORM}x a', platforms), [])
  assert.deepEqual(inFrom('FROM --platform=linux/arm64 a', platforms), [
    [
      'FromPlatformFlagConstDisallowed',
      'FROM --platform flag should not use constant value "linux/arm64"',
      1,
    ],
  ])
  assert.deepEqual(inFrom('FROM --platform=linux/arm64 a AS build-arm64', platforms), [])
  assert.deepEqual(inFrom('FROM --platform=linux/arm64 a AS linuxbase', platforms), [])
})

test('InvalidDefaultArgInFrom', () => {
  const inDefaults = (text: string): Found[] => {
    const file = parseDockerfile(text)
    const checker = checkerOf(file)
    checkDefaultBases(checker, file, valuesOf({ TARGETARCH: 'amd64' }))
    return foundBy(checker)
  }
  const invalid = (base: string): Found => [
    'InvalidDefaultArgInFrom',
    `Default value for ARG ${base} results in empty or invalid base image name`,
    2,
  ]
  assert.deepEqual(inDefaults('ARG a\nFROM $a'), [invalid('$a')])
  assert.deepEqual(inDefaults('ARG a\nFROM b:$a'), [invalid('b:$a')])
  assert.deepEqual(inDefaults('ARG a=1\nFROM b:$a'), [])
  assert.deepEqual(inDefaults('ARG a=x b=$a-$TARGETARCH\nFROM c:$b'), [])
  assert.deepEqual(inDefaults('ARG a\nFROM ${a:-b}'), [])
  assert.deepEqual(inDefaults('ARG a\nFROM ${a:?give}'), [])
})

test('UndefinedVar', () => {
  const inStage = (line: string): Found[] => {
    const file = parseDockerfile(`FROM a\n${line}`)
    const checker = checkerOf(file)
    for (const instruction of file.stages[0]?.instructions ?? []) {
      const { unset } = expandInstruction(instruction, valuesOf({ PATH: '/bin' }), '\\')
      checkUnset(checker, instruction, { unset, known: ['PATH'], declared: ['arg'] })
    }
    return foundBy(checker)
  }
  const undefinedVar = (name: string, meant = ''): Found => [
    'UndefinedVar',
    `Usage of undefined variable '$${name}'${meant}`,
    2,
  ]
  assert.deepEqual(inStage('WORKDIR $PATH/$arg'), [])
  assert.deepEqual(inStage('ENV a=$PAHT:x'), [undefinedVar('PAHT', ' (did you mean $PATH?)')])
  assert.deepEqual(inStage('COPY $x <<E /$y\n$z\nE'), [
    undefinedVar('x'),
    undefinedVar('z'),
    undefinedVar('y'),
  ])
  assert.deepEqual(inStage('RUN echo $x'), [])
  assert.deepEqual(inStage('LABEL a=$BUILDKIT_SBOM_SCAN_STAGE'), [])
})

test('CopyIgnoredFile', () => {
  const inCopy = (line: string, patterns: string[]): Found[] => {
    const file = parseDockerfile(`FROM a\n${line}`)
    const checker = checkerOf(file)
    for (const instruction of file.stages[0]?.instructions ?? [])
      if (instruction.name === 'COPY' || instruction.name === 'ADD')
        checkCopyIgnored(checker, instruction, new IgnoreMatcher(patterns))
    return foundBy(checker)
  }
  const ignored = (verb: string, file: string): Found => [
    'CopyIgnoredFile',
    `Attempting to ${verb} file "${file}" that is excluded by .dockerignore`,
    2,
  ]
  assert.deepEqual(inCopy('COPY a/b /c', ['a']), [ignored('Copy', 'a/b')])
  assert.deepEqual(inCopy('ADD ./x b /c', ['x']), [ignored('Add', 'x')])
  assert.deepEqual(inCopy('ADD https://x /c', ['**']), [])
  assert.deepEqual(inCopy('COPY --from=x a /c', ['a']), [])
  assert.deepEqual(inCopy('COPY a /c', ['a', '!b']), [])
  assert.deepEqual(inCopy('COPY . /c', ['.']), [])
  assert.deepEqual(inCopy('COPY . /c', ['*']), [ignored('Copy', '.')])
  assert.deepEqual(inCopy('COPY <<a /c\na', ['a']), [])
})

test('ExposeProtoCasing and ExposeInvalidFormat', () => {
  const file = parseDockerfile('FROM a\nEXPOSE x')
  const [expose] = file.stages[0]?.instructions ?? []
  assert.ok(expose)
  const checker = checkerOf(file)
  for (const port of ['80', '80/tcp', '90-91/udp', '80/TCP', '1:80', '127.0.0.1:1:80', '[::1]::80'])
    checkPort(checker, expose, port)
  const mapped = (port: string): Found => [
    'ExposeInvalidFormat',
    `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`,
    2,
  ]
  assert.deepEqual(foundBy(checker), [
    ['ExposeProtoCasing', "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase", 2],
    mapped('1:80'),
    mapped('127.0.0.1:1:80'),
    mapped('[::1]::80'),
  ])
})

test('InvalidBaseImagePlatform', () => {
  const file = parseDockerfile('FROM a')
  const [stage] = file.stages
  assert.ok(stage)
  const checker = checkerOf(file)
  const [arm, amd] = [
    { os: 'linux', architecture: 'arm64', variant: 'v8' },
    { os: 'linux', architecture: 'amd64' },
  ]
  checkBasePlatform(checker, stage, { image: 'a', expected: amd, actual: amd })
  checkBasePlatform(checker, stage, { image: 'a', expected: amd, actual: arm })
  assert.deepEqual(foundBy(checker), [
    [
      'InvalidBaseImagePlatform',
      'Base image a was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
      1,
    ],
  ])
})
