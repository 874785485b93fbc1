import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseMountInfo } from '../../linux/mount.ts'
import { asTheHostHasThem, checkPropagation } from './bindPropagation.ts'
import { decideMounts } from './mountRequests.ts'

const tableWith = (tag: string) => () =>
  parseMountInfo(`1 0 8:1 / / rw,relatime ${tag} - ext4 /dev/sda rw`.replace('  ', ' '))

const bound = (bind: string) =>
  decideMounts({ Binds: [bind] }, {}, { recursiveReadOnly: true, inherited: [], dataRoot: '/var/lib/berth' })

test('what holds the data root is a slave where the host’s mount is shared, and private where not', async () => {
  const had = async (bind: string, tag: string) =>
    (await asTheHostHasThem(bound(bind), tableWith(tag)))[0]?.propagation
  for (const [tag, expected] of [
    ['shared:1', 'rslave'],
    ['master:1', 'rslave'],
    ['', 'rprivate'],
  ] as const) {
    assert.equal(await had('/:/h', tag), expected, tag)
    await checkPropagation(bound('/:/h'), tableWith(tag))
  }
  assert.equal(await had('/etc:/h', 'shared:1'), 'rprivate')
})

test('a propagation that was asked for is refused where the host’s mount cannot have it', async () => {
  const refused = (bind: string, tag: string, kind: string) =>
    assert.rejects(checkPropagation(bound(bind), tableWith(tag)), {
      status: 400,
      message: `path ${bind.split(':')[0]} is mounted on / but it is not a ${kind} mount`,
    })
  for (const word of ['shared', 'rshared'])
    for (const tag of ['', 'master:1']) await refused(`/etc:/h:${word}`, tag, 'shared')
  for (const word of ['slave', 'rslave']) await refused(`/etc:/h:${word}`, '', 'shared or slave')
  await refused('/:/h:rslave', '', 'shared or slave')
  for (const word of ['slave', 'rslave'])
    for (const tag of ['shared:1', 'master:1'])
      await checkPropagation(bound(`/etc:/h:${word}`), tableWith(tag))
  for (const word of ['private', 'rprivate']) await checkPropagation(bound(`/etc:/h:${word}`), tableWith(''))
})
