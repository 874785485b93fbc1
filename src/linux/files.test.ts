import assert from 'node:assert/strict'
import { lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  AT_FDCWD,
  deviceNumber,
  filesystemOf,
  O_DIRECTORY,
  O_RDONLY,
  openAt,
  openIn,
  owned,
  setTimesAt,
  zeroEnded,
} from './files.ts'
import { isMountRoot, parseMountInfo, readMounts } from './mount.ts'
import { statAt, statFd, statIfThere } from './stat.ts'
import { getXattr, setXattr, xattrNames } from './xattrs.ts'

const temporary = (): { path: string; fd: number } & Disposable => {
  const path = mkdtempSync('/tmp/berth-files-')
  const directory = owned(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY))
  return {
    path,
    fd: directory.fd,
    [Symbol.dispose]: () => {
      directory[Symbol.dispose]()
      rmSync(path, { recursive: true })
    },
  }
}

const code = (wanted: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === wanted

test('openIn stays in its root', () => {
  using at = temporary()
  mkdirSync(join(at.path, 'etc'))
  writeFileSync(join(at.path, 'etc/f'), 'inside')
  symlinkSync('/etc', join(at.path, 'absolute'))
  symlinkSync('../../../etc', join(at.path, 'climbing'))
  symlinkSync('/nowhere', join(at.path, 'dangling'))
  for (const name of ['absolute/f', 'climbing/f', '../../etc/f', '/etc/f']) {
    using file = owned(openIn(at.fd, name, { flags: O_RDONLY }))
    assert.equal(statFd(file.fd).inode, lstatSync(join(at.path, 'etc/f')).ino)
  }
  assert.throws(() => openIn(at.fd, 'dangling', { flags: O_RDONLY }), code('ENOENT'))
  using proc = owned(openAt(AT_FDCWD, '/proc', O_RDONLY | O_DIRECTORY))
  assert.throws(() => openIn(proc.fd, 'self/root/etc', { flags: O_RDONLY }), code('ELOOP'))
})

test('a zero byte within a name is refused', () => {
  assert.throws(() => zeroEnded('a\0b'), code('EINVAL'))
})

test('statAt tells what lstat tells', () => {
  using at = temporary()
  writeFileSync(join(at.path, 'f'), Buffer.alloc(5000), { mode: 0o640 })
  setTimesAt({ dir: at.fd, name: 'f' }, 1n, -1_500_000_001n)
  const seen = statAt(at.fd, 'f')
  const real = lstatSync(join(at.path, 'f'), { bigint: true })
  assert.deepEqual([seen.mode, seen.size, seen.diskBytes, seen.inode, seen.links, seen.mtime].map(BigInt), [
    real.mode,
    real.size,
    real.blocks * 512n,
    real.ino,
    real.nlink,
    real.mtimeNs,
  ])
  assert.equal(seen.mtime, -1_500_000_001n)
  assert.equal(statIfThere(at.fd, 'none'), undefined)
  assert.equal(statIfThere(at.fd, 'f/x'), undefined)
})

test('attributes are set on the name itself and read back', () => {
  using at = temporary()
  const path = join(at.path, 'f')
  writeFileSync(path, '')
  assert.equal(getXattr(path, 'user.a'), undefined)
  setXattr(path, 'user.a', Buffer.from('\0v'))
  assert.deepEqual(getXattr(path, 'user.a'), Buffer.from('\0v'))
  assert.deepEqual(xattrNames(path), ['user.a'])
})

test('device numbers are those of makedev', () => {
  assert.equal(deviceNumber(1, 3), 0x103n)
  assert.equal(deviceNumber(259, 70_000), (70_000n & 0xffn) | (259n << 8n) | ((70_000n & ~0xffn) << 12n))
})

test('the filesystem tells its space', () => {
  using at = temporary()
  const info = filesystemOf(at.fd)
  assert.ok(info.total > info.available && info.available > 0 && info.type > 0)
})

test('mountinfo is parsed with its escapes and optional fields', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue',
    '37 36 0:5 / /plain rw - proc proc rw',
    'nonsense',
  ].join('\n')
  const [first, second, ...rest] = parseMountInfo(text)
  assert.deepEqual(rest, [])
  assert.deepEqual(
    [first?.target, first?.propagation, first?.type, first?.root],
    ['/mnt 2', ['master:1', 'shared:2'], 'ext3', '/mnt1'],
  )
  assert.deepEqual(
    [second?.id, second?.parent, second?.propagation, second?.superOptions],
    [37, 36, [], 'rw'],
  )
})

test('mount roots are told from plain folders', () => {
  assert.ok(isMountRoot('/proc'))
  assert.equal(isMountRoot('/proc/self'), false)
  assert.equal(isMountRoot('/no/such/folder'), false)
  assert.ok(readMounts().some(mount => mount.target === '/proc'))
})
