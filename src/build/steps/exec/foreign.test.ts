import assert from 'node:assert/strict'
import { test } from 'node:test'
import { architectureOf } from '../../../oci/platform.ts'
import { FormatErrors } from './foreign.ts'

const own = architectureOf(process.arch)
const foreign = own === 'arm64' ? 'amd64' : 'arm64'

const hintOf = (architecture: string, stream: 'stdout' | 'stderr', text: string): string | undefined => {
  const format = new FormatErrors({ os: 'linux', architecture })
  format.hear(stream, Buffer.from(text))
  return format.hint
}

test('a program that the kernel refuses is another platform’s where the step is', () => {
  const words = 'exec container process `/bin/sh`: Exec format error\n'
  assert.match(hintOf(foreign, 'stderr', words) ?? '', new RegExp(`linux/${foreign}.*--install ${foreign}"`))
  assert.equal(hintOf(own, 'stderr', words), undefined)
  assert.equal(hintOf(foreign, 'stdout', words), undefined)
  assert.equal(hintOf(foreign, 'stderr', 'something else'), undefined)
})
