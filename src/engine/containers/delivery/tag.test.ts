import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tagOf } from './tag.ts'
import type { LogSource } from './types.ts'

const source: LogSource = {
  ...{
    id: '0123456789abcdef'.repeat(4),
    name: 'web',
    command: 'sh -c x',
    imageId: `sha256:${'ab'.repeat(32)}`,
  },
  ...{ imageName: 'busy/box', created: '', hostname: 'host' },
  env: ['A=1'],
  labels: { team: 'blue', 'com.x': 'y' },
}

const tag = (text: string, options: Record<string, string> = {}): string =>
  tagOf(source, { tag: text, labels: 'team', ...options })

test('each field, as Docker’s templates have them', () => {
  const cases: [string, string][] = [
    ['', '0123456789ab'],
    ['{{.ID}}', '0123456789ab'],
    ['{{.FullID}}', source.id],
    ['{{.Name}}/{{.ContainerName}}', 'web//web'],
    ['{{.ImageID}}', 'abababababab'],
    ['{{.ImageFullID}}', source.imageId],
    ['{{.ImageName}}', 'busy/box'],
    ['{{.DaemonName}}', 'docker'],
    ['{{.Command}}', 'sh -c x'],
    ['{{.Hostname}}', 'host'],
    ['{{.ExtraAttributes nil}}', 'map[team:blue]'],
    ['{{.ExtraAttributes nil | json}}', '{"team":"blue"}'],
    ['{{index .ContainerLabels "com.x"}}', 'y'],
    ['{{.Config.labels}}', 'team'],
    ['plain', 'plain'],
    ['a{{- .Name -}}b', 'awebb'],
  ]
  for (const [text, expected] of cases) assert.equal(tag(text), expected, text)
})

test('each function', () => {
  const cases: [string, string][] = [
    ['{{json .Name}}', '"web"'],
    ['{{split .ImageName "/"}}', '[busy box]'],
    ['{{split .ImageName "/" | json}}', '["busy","box"]'],
    ['{{title "one two-three x_y"}}', 'One Two-Three X_y'],
    ['{{.Name | upper | lower}}', 'web'],
    ['{{pad .Name 1 2}}|', ' web  |'],
    ['{{truncate .ID 3}}', '012'],
    ['{{truncate .Name 30}}', 'web'],
    ['{{printf "%s=%v%%" .Name 7}}', 'web=7%'],
    ['{{printf "%q" .Name}}', '"web"'],
    ['{{len .Name}}', '3'],
    ['{{slice .ID 2 5}}', '234'],
    ['{{print .Name `x`}}', 'webx'],
  ]
  for (const [text, expected] of cases) assert.equal(tag(text), expected, text)
})

test('what is no template, or is none that is understood, is refused', () => {
  const refused: [string, RegExp][] = [
    ['{{.ID', /unclosed action/],
    ['{{.Nothing}}', /can't evaluate field/],
    ['{{nothing .ID}}', /function "nothing" not defined/],
    ['{{}}', /missing value for command/],
    ['{{.ID .Name}}', /can't give argument to non-function/],
    ['{{join (split .Name "e") "-"}}', /template.*not implemented/],
    ['{{printf "%x" .Name}}', /%x is not implemented/],
    ['{{if .ID}}x{{end}}', /function "if" not defined/],
  ]
  for (const [text, words] of refused) assert.throws(() => tag(text), { message: words }, text)
})
