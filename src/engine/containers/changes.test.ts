import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Change } from '../../store/types.ts'
import { withoutStubs } from './changes.ts'

const change = (Path: string, Kind: Change['Kind']): Change => ({ Path, Kind })

describe('what a container changed', () => {
  it('leaves out the stubs of our mounts and the directory that only they changed', () => {
    const found = [change('/etc', 0), change('/etc/hosts', 1), change('/etc/resolv.conf', 1), change('/x', 1)]
    assert.deepEqual(withoutStubs(found), [change('/x', 1)])
  })

  it('keeps a directory in which something else changed', () => {
    const found = [change('/etc', 0), change('/etc/hosts', 1), change('/etc/passwd', 0)]
    assert.deepEqual(withoutStubs(found), [change('/etc', 0), change('/etc/passwd', 0)])
  })

  it('keeps files of these names that the image had, and directories changed by themselves', () => {
    const found = [change('/etc', 0), change('/etc/hosts', 2), change('/home', 0)]
    assert.deepEqual(withoutStubs(found), found)
  })
})
