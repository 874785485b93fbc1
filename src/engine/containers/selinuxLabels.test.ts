import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseContexts } from '../../linux/selinux.ts'
import { labelsOf, sameLabelOptions } from './selinuxLabels.ts'

const contexts = parseContexts(
  [
    'process = "system_u:system_r:container_t:s0"',
    'content = "system_u:object_r:virt_var_lib_t:s0"',
    'file = "system_u:object_r:container_file_t:s0"',
    'ro_file = "system_u:object_r:container_ro_file_t:s0"',
  ].join('\n'),
)

const labels = (...options: string[]) => labelsOf(contexts, options, new Set())

test('processes and files of a container share two categories of its own', () => {
  assert.equal(contexts.file, 'system_u:object_r:container_file_t:s0')
  const { process = '', mount = '' } = labels() ?? {}
  const [, low, high] = /^system_u:system_r:container_t:s0:c(\d+),c(\d+)$/.exec(process) ?? []
  assert.ok(Number(low) < Number(high), process)
  assert.equal(mount, `system_u:object_r:container_file_t:s0:c${low},c${high}`)
})

test('no two containers are given the same ones', () => {
  const taken = new Set<string>()
  for (let count = 0; count < 20_000; count++) {
    const level = labelsOf(contexts, [], taken)?.mount.split(':').slice(3).join(':') ?? ''
    assert.ok(!taken.has(level) && level !== 's0:c1022,c1023')
    taken.add(level)
  }
})

test('options change one part each; level and user those of files, too', () => {
  assert.deepEqual(labels('type:own_t', 'level:s0:c100,c200', 'filetype:data_t', 'user:me_u', 'role:r_r'), {
    process: 'me_u:r_r:own_t:s0:c100,c200',
    mount: 'me_u:object_r:data_t:s0:c100,c200',
  })
})

test('without a label of its processes the files are of a level that no container has', () => {
  assert.deepEqual(labels('type:own_t', 'disable'), {
    process: '',
    mount: 'system_u:object_r:container_file_t:s0:c1022,c1023',
  })
})

test('a policy that says nothing of containers gives no labels', () => {
  assert.equal(labelsOf(parseContexts(''), [], new Set()), undefined)
})

test('a container that joins another one has its label', () => {
  const options = sameLabelOptions('system_u:system_r:container_t:s0:c1,c2')
  assert.deepEqual(options, ['user:system_u', 'role:system_r', 'type:container_t', 'level:s0:c1,c2'])
  assert.equal(labels(...options)?.process, 'system_u:system_r:container_t:s0:c1,c2')
})
