import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodePlatform } from './platformQuery.ts'

test('a platform is a JSON object with an operating system and an architecture', () => {
  assert.deepEqual(decodePlatform('{"os":"linux","architecture":"arm64","variant":"v8"}'), {
    os: 'linux',
    architecture: 'arm64',
  })
  assert.deepEqual(decodePlatform('{"os":"linux","architecture":"arm","variant":"v7","other":1}'), {
    os: 'linux',
    architecture: 'arm',
    variant: 'v7',
  })
})

test('what is no platform is refused in Docker’s words', () => {
  const refused: [string, RegExp][] = [
    ['linux/arm64', /^failed to parse platform: /],
    ['["linux"]', /^failed to parse platform: /],
    ['{"os":1,"architecture":"arm"}', /^failed to parse platform: os is not a string/],
    ['{"os":"linux"}', /^both OS and Architecture must be provided$/],
    ['{"variant":"v7"}', /^optional platform fields provided, but OS and Architecture are missing$/],
  ]
  for (const [text, message] of refused) assert.throws(() => decodePlatform(text), { status: 400, message })
})
