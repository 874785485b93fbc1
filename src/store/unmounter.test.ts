import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hasCode } from '../core/errors.ts'
import { isMountRoot, mount } from '../linux/mount.ts'
import { removeAll } from './fixture.ts'
import { Unmounter } from './unmounter.ts'

const mounts = (count: number): { base: string; targets: string[] } & Disposable => {
  const base = mkdtempSync('/tmp/berth-unmount-')
  const targets = Array.from({ length: count }, (_, n) => join(base, `m ${n}`))
  for (const target of targets) {
    mkdirSync(target)
    mount({ source: 'tmpfs', target, type: 'tmpfs' })
  }
  return { base, targets, [Symbol.dispose]: () => removeAll(base) }
}

const monitor = [fileURLToPath(new URL('../../build/berth-monitor', import.meta.url)), 'unmount']

for (const [name, options] of [
  ['a shell', {}],
  ['berth-monitor', { helper: monitor }],
] as const)
  test(`${name} unmounts many at once, busy ones too, and what is no mount`, async () => {
    using at = mounts(20)
    using unmounter = new Unmounter(options)
    const user = openSync(join(at.targets[3] ?? '', 'used'), 'w')
    await Promise.all(at.targets.map(target => unmounter.unmount(target)))
    assert.deepEqual(at.targets.filter(isMountRoot), [])
    await unmounter.unmount(at.base)
    await unmounter.unmount(join(at.base, 'absent'))
    closeSync(user)
  })

test('an unmount that hangs is abandoned, others go on, and too many are refused', async () => {
  using at = mounts(10)
  const fifo = join(at.base, 'fifo')
  execFileSync('mkfifo', [fifo])
  mkdirSync(join(at.base, 'bin'))
  // Hangs for every mount but the last until the fifo is written to.
  writeFileSync(
    join(at.base, 'bin/umount'),
    `#!/bin/sh\ncase "$*" in *"/m 9") exec /bin/umount "$@";; esac\nread line < '${fifo}'\n`,
    { mode: 0o755 },
  )
  const before = process.env['PATH']
  process.env['PATH'] = `${join(at.base, 'bin')}:${before}`
  using unmounter = new Unmounter({ deadlineMs: 300 })
  try {
    const [first = '', ...rest] = at.targets.slice(0, 8)
    await assert.rejects(unmounter.unmount(first), error => hasCode(error, 'unmount-timeout'))
    await unmounter.unmount(at.targets[9] ?? '')
    assert.equal(isMountRoot(at.targets[9] ?? ''), false)
    for (const target of rest)
      await assert.rejects(unmounter.unmount(target), error => hasCode(error, 'unmount-timeout'))
    await assert.rejects(unmounter.unmount(at.targets[8] ?? ''), error => hasCode(error, 'unavailable'))
  } finally {
    process.env['PATH'] = before
    for (let n = 0; n < 8; n++)
      execFileSync('sh', ['-c', `timeout 1 sh -c 'echo > "$1"' sh "$1" || true`, 'sh', fifo])
  }
})
