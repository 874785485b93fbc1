import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { relabelTree } from '../../archive/relabel.ts'
import { getXattr } from '../../linux/xattrs.ts'
import { parseBind, parseMount } from './mountRequests.ts'
import { relabelings } from './relabel.ts'

const label = 'system_u:object_r:container_file_t:s0:c1,c2'

test('z shares a label, Z keeps it for one container; nothing is said of others', () => {
  const of = (bind: string) => relabelings([parseBind(bind)], label)
  assert.deepEqual(of('/a:/b:Z'), [{ source: '/a', label }])
  assert.deepEqual(of('/a:/b:ro,z'), [{ source: '/a', label: 'system_u:object_r:container_file_t:s0' }])
  assert.deepEqual(of('/a:/b:ro'), [])
  assert.deepEqual(
    relabelings([parseBind('/a:/b:Z')], undefined),
    [],
    'without SELinux it is taken and nothing done',
  )
  const volume = { ...parseMount({ Type: 'volume', Source: 'v', Target: '/v' }), source: '/data/v' }
  assert.deepEqual(relabelings([volume], label), [
    { source: '/data/v', label: 'system_u:object_r:container_file_t:s0' },
  ])
})

test('directories of the host itself are not labelled', () => {
  for (const source of ['/', '/etc', '/usr', '/var/lib', '/home'])
    assert.throws(() => relabelings([parseBind(`${source}:/b:z`)], label), {
      status: 400,
      message: `error setting label on mount source '${source}': SELinux relabeling of ${source} is not allowed`,
    })
})

test('a tree is labelled whole, and links lead nowhere', () => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-relabel-'))
  try {
    mkdirSync(path.join(base, 'top/deep/er'), { recursive: true })
    writeFileSync(path.join(base, 'top/deep/er/file'), '')
    writeFileSync(path.join(base, 'outside'), '')
    symlinkSync('../../outside', path.join(base, 'top/deep/link'))
    symlinkSync('top', path.join(base, 'alias'))
    relabelTree(path.join(base, 'alias'), label)
    const labelOf = (name: string) => getXattr(path.join(base, name), 'security.selinux')?.toString()
    for (const name of ['top', 'top/deep', 'top/deep/er', 'top/deep/er/file', 'top/deep/link'])
      assert.equal(labelOf(name), `${label}\0`, name)
    for (const name of ['outside', 'alias', '.']) assert.equal(labelOf(name), undefined, name)
    relabelTree(path.join(base, 'outside'), label)
    assert.equal(labelOf('outside'), `${label}\0`)
    relabelTree('/proc/self/fdinfo', label)
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})
