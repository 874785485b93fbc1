import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { LoopFilesystem } from './harness/powerCut.ts'
import { must, run } from './harness/shell.ts'

const berthd = path.join(projectRoot, 'bin/berthd')

/** Whether the kernel keeps quotas of projects: a file system that asks for them mounts. */
const quotaProblem = await (async (): Promise<string | undefined> => {
  const base = mkdtempSync('/tmp/berth-quota-')
  const disk = new LoopFilesystem(path.join(base, 'disk'), path.join(base, 'mount'))
  try {
    await disk.make(16, '-O', 'quota,project')
    await disk.mount('prjquota')
    await disk.unmount()
    return undefined
  } catch {
    return 'this kernel has no project quotas'
  } finally {
    rmSync(base, { recursive: true })
  }
})()

const skip = quotaProblem === undefined ? false : quotaProblem

describe(`writable layers with a limit${skip ? `: ${skip}` : ''}`, { skip }, () => {
  const daemon = new TestDaemon({ flags: ['--storage-opt', 'overlay2.size=12m'] })
  const disk = new LoopFilesystem(path.join(daemon.base, 'disk'), daemon.dataRoot)
  before(async () => {
    await daemon.prepare()
    await disk.make(256, '-O', 'quota,project')
    await disk.mount('prjquota')
    await daemon.start()
    await daemon.loadBusybox()
  })
  after(() => daemon.close())

  const fill = (...options: string[]) =>
    daemon.docker([
      'run',
      '--rm',
      ...options,
      'busybox',
      'dd',
      'if=/dev/zero',
      'of=/big',
      'bs=1M',
      'count=20',
    ])
  const free = (): Promise<string> => must(['repquota', '-P', '-n', daemon.dataRoot])

  test('its own holds, else the daemon’s; other containers and volumes have none of it', async () => {
    const own = await fill('--storage-opt', 'size=6m')
    assert.match(own.stderr, /No space left on device|Disk quota exceeded/)
    assert.match(own.stderr, /^[56]\+0 records out/m)
    const general = await fill()
    assert.match(general.stderr, /^1[12]\+0 records out/m)
    assert.equal((await fill('--storage-opt', 'size=64m')).code, 0)
    assert.equal((await fill('-v', 'vol:/data')).code, 1)
    await daemon.mustDocker([
      ...[
        'run',
        '--rm',
        '-v',
        'vol:/data',
        'busybox',
        'dd',
        'if=/dev/zero',
        'of=/data/big',
        'bs=1M',
        'count=20',
      ],
    ])
  })

  test('a volume of the driver local has one by its option size', async () => {
    await daemon.mustDocker(['volume', 'create', '-o', 'size=4m', 'small'])
    const write = ['dd', 'if=/dev/zero', 'of=/data/big', 'bs=1M', 'count=20']
    const { stderr } = await daemon.docker(['run', '--rm', '-v', 'small:/data', 'busybox', ...write])
    assert.match(stderr, /^[34]\+0 records out/m)
    await daemon.mustDocker(['volume', 'rm', 'small'])
    assert.doesNotMatch(await free(), / 4096 /)
  })

  test('it outlives the daemon, and a removed layer leaves no limit behind', async () => {
    await daemon.mustDocker([
      'create',
      '--name',
      'kept',
      '--storage-opt',
      'size=6m',
      'busybox',
      'sh',
      '-c',
      'dd if=/dev/zero of=/big bs=1M count=20; stat -c %s /big',
    ])
    await daemon.restart()
    const size = Number((await daemon.docker(['start', '-a', 'kept'])).stdout)
    assert.ok(size > 4 << 20 && size <= 6 << 20, String(size))
    await daemon.mustDocker(['rm', 'kept'])
    assert.doesNotMatch(await free(), / 6144 /)
  })
})

test('where no quota can be kept the daemon does not start, and says what to mount how', async () => {
  const base = mkdtempSync('/dev/shm/berth-quota-')
  try {
    const roots = ['--data-root', `${base}/data`, '--exec-root', `${base}/exec`, '-H', `unix://${base}/sock`]
    const { code, stderr } = await run([berthd, ...roots, '--storage-opt', 'overlay2.size=12m'])
    assert.equal(code, 1)
    assert.match(stderr, /overlay2\.size not supported.* with pquota \(XFS\) or prjquota \(ext4\)/)
  } finally {
    rmSync(base, { recursive: true })
  }
})
