import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canHang, mountThatCanHang } from './hangingMounts.ts'
import { parseMountInfo } from './mount.ts'

const mounts = parseMountInfo(
  [
    '20 1 8:1 / / rw - ext4 /dev/sda1 rw',
    '21 20 0:30 / /mnt/remote rw - nfs4 server:/export rw',
    '22 20 0:31 / /home rw - ext4 /dev/sdb1 rw',
    '23 22 0:32 / /home/ann/drive rw - fuse.sshfs ann@host: rw',
    '24 21 0:33 / /mnt/remote/scratch rw - tmpfs tmpfs rw',
    '25 20 0:34 / /srv rw - nfs server:/srv rw',
    '26 25 0:35 / /srv rw - ext4 /dev/sdc1 rw',
  ].join('\n'),
)

const links: Record<string, string> = {
  '/data': '/mnt/remote/data',
  '/home/ann/link': 'drive/deep',
  '/home/loop': 'loop',
}

const find = (path: string): { target: string | undefined; asked: string[] } => {
  const asked: string[] = []
  const found = mountThatCanHang(path, mounts, name => {
    asked.push(name)
    return links[name]
  })
  return { target: found?.target, asked }
}

test('the mount that a path leads through is found without asking it', () => {
  assert.equal(find('/mnt/remote').target, '/mnt/remote')
  assert.equal(find('/mnt/remote/scratch/x').target, '/mnt/remote')
  assert.equal(find('/home/ann/drive/a/b').target, '/home/ann/drive')
  const { asked } = find('/mnt/../mnt/./remote/data')
  assert.deepEqual(asked, ['/mnt', '/mnt'])
})

test('links are followed on the way, relative and absolute, and in circles not for ever', () => {
  assert.equal(find('/data/x').target, '/mnt/remote')
  assert.equal(find('/home/ann/link').target, '/home/ann/drive')
  assert.equal(find('/home/loop').target, undefined)
})

test('a path beside such mounts, or on one that hides them, is like any other', () => {
  assert.equal(find('/home/ann').target, undefined)
  assert.equal(find('/mnt/remotely').target, undefined)
  assert.equal(find('/srv/x').target, undefined)
})

test('types that wait for another machine or program can hang', () => {
  const wait = ['fuse', 'fuse.sshfs', 'nfs', 'nfs4', 'cifs', '9p', 'ceph', 'autofs', 'virtiofs']
  assert.deepEqual(wait.filter(canHang), wait)
  assert.deepEqual(['ext4', 'tmpfs', 'overlay', 'fusectl', 'fuseblk', 'nfsd', 'btrfs'].filter(canHang), [])
})
