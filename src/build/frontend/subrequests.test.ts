import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readAttributes } from './attributes.ts'
import type { FrontendHost } from './frontend.ts'
import { answerSubrequest, UnsupportedSubrequestError } from './subrequests.ts'

const hostOf = (dockerfile: string): FrontendHost => ({
  session: 's',
  inputs: {},
  readFiles: async ({ folder }) => new Map(folder === 'dockerfile' ? [['Dockerfile', dockerfile]] : []),
  outside: {
    image: async () => ({
      config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
    }),
    layout: async () => assert.fail('no layout is asked for'),
    ignoreFile: async () => '',
    sourceDate: async () => undefined,
  },
  readResult: async () => assert.fail('nothing is fetched'),
  notice: () => {},
})

const ask = async (name: string, dockerfile: string, given: Record<string, string> = {}) => {
  const answer = await answerSubrequest(name, readAttributes(given), hostOf(dockerfile))
  return {
    json: JSON.parse(answer['result.json'] ?? ''),
    version: answer['version'],
    'result.txt': answer['result.txt'],
    'result.statuscode': answer['result.statuscode'],
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

test('an outline has the arguments, secrets and agents of a target', async () => {
  const text = [
    '# WHO is greeted',
    'ARG WHO=world',
    '# app is what is built',
    'FROM base AS app',
    'ARG WHO',
    'RUN --mount=type=secret,id=key,required --mount=type=ssh echo $WHO',
  ].join('\n')
  const { json, version, ...answer } = await ask('frontend.outline', text, { 'build-arg:WHO': 'us' })
  assert.equal(version, '1.0.0')
  assert.equal(json.name, 'app')
  assert.equal(json.description, 'is what is built')
  assert.deepEqual(
    json.secrets.map(({ name, required }: Record<string, unknown>) => [name, required]),
    [['key', true]],
  )
  assert.deepEqual(json.ssh[0].name, 'default')
  assert.equal(json.secrets[0].location.ranges[0].start.line, 6)
  assert.deepEqual(json.sources, [base64(text)])
  assert.equal(
    answer['result.txt'],
    [
      'TARGET:      app',
      'DESCRIPTION: is what is built',
      '',
      'BUILD ARG   VALUE   DESCRIPTION',
      `WHO         us      ${json.args[0].description ?? ''}`,
      '',
      'SECRET   REQUIRED',
      'key      true',
      '',
      'SSH       REQUIRED',
      'default   ',
      '',
      '',
    ].join('\n'),
  )
})

test('targets are all stages, the last of them the default', async () => {
  const { json, ...answer } = await ask(
    'frontend.targets',
    'FROM base AS one\n# two is more\nFROM one AS two\nFROM --platform=linux/arm64 other',
  )
  assert.deepEqual(
    json.targets.map(({ location, ...target }: Record<string, unknown>) => target),
    [
      { name: 'one', base: 'base' },
      { name: 'two', description: 'is more', base: 'one' },
      { default: true, base: 'other', platform: 'linux/arm64' },
    ],
  )
  assert.equal(answer['result.txt'], 'TARGET    DESCRIPTION\none       \ntwo       is more\n(default) \n')
})

test('checks of all stages, with what is wrong beyond, give the status of a command', async () => {
  const found = await ask('frontend.lint', 'FROM base as one\nFROM base')
  assert.equal(found['result.statuscode'], '1')
  assert.equal(found.json.warnings[0].ruleName, 'FromAsCasing')
  assert.equal(found.json.warnings[0].location.ranges[0].start.line, 1)
  assert.equal(found.json.sources[0].filename, 'Dockerfile')
  assert.match(
    found['result.txt'] ?? '',
    /^\nWARNING: FromAsCasing - https.*\n.*\nDockerfile:1\n-+\n +1 \| >>> FROM/,
  )
  const none = await ask('frontend.lint', 'FROM base')
  assert.deepEqual([none.json.warnings, none['result.statuscode'], none['result.txt']], [null, '0', ''])
  for (const wrong of ['FROM base\nRUM x', 'FROM base\nCOPY --from=9 a b']) {
    const { json, ...answer } = await ask('frontend.lint', wrong)
    assert.equal(answer['result.statuscode'], '1')
    assert.equal(json.buildError.location.ranges[0].start.line, 2)
    assert.equal(json.sources[0].data, base64(wrong))
  }
})

test('what there is to ask for is told, and nothing else is answered', async () => {
  const { json, ...answer } = await ask('frontend.subrequests.describe', '')
  assert.deepEqual(
    json.map(({ name }: { name: string }) => name),
    ['frontend.outline', 'frontend.targets', 'frontend.lint', 'frontend.subrequests.describe'],
  )
  assert.match(answer['result.txt'] ?? '', /^NAME +VERSION DESCRIPTION\noutline +1\.0\.0 +List all/)
  for (const name of ['frontend.convertllb', 'toString'])
    await assert.rejects(
      ask(name, 'FROM base'),
      error => error instanceof UnsupportedSubrequestError && error.message === `unsupported request ${name}`,
    )
})
