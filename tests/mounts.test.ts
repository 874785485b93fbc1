import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, run } from './harness/shell.ts'

let daemon: TestDaemon
let folder: string
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  folder = path.join(daemon.base, 'bound')
  mkdirSync(path.join(folder, 'below'), { recursive: true })
  writeFileSync(path.join(folder, 'file'), 'content\n')
  await must(['mount', '-t', 'tmpfs', 'below', path.join(folder, 'below')])
})
after(() => daemon.close())

/** Both runtimes read a mount's options in their own way. */
for (const runtime of ['crun', 'runc']) {
  const sh = (options: string[], script: string): Promise<string> =>
    daemon.mustDocker(['run', '--rm', '--runtime', runtime, ...options, 'busybox', 'sh', '-c', script])
  const touch = 'touch /m/below/x 2>/dev/null && echo written || echo refused'
  const bind = (options: string): string[] => ['--mount', `type=bind,source=${folder},target=/m,${options}`]

  test(`${runtime}: a read-only bind makes what is mounted below it read-only, unless told otherwise`, async () => {
    assert.equal(await sh(['-v', `${folder}:/m:ro`], touch), 'refused')
    assert.equal(await sh(bind('readonly,bind-recursive=writable'), touch), 'written')
    assert.equal(
      await sh(bind('readonly,bind-recursive=readonly,bind-propagation=rprivate'), touch),
      'refused',
    )
    assert.equal(await sh(['-v', `${folder}/file:/a/deep/file:ro`], 'cat /a/deep/file'), 'content')
    const old = await daemon.json<{ Id: string }>('POST', '/v1.43/containers/create', {
      Image: 'busybox',
      Cmd: ['sh', '-c', touch],
      HostConfig: { Runtime: runtime, Binds: [`${folder}:/m:ro`] },
    })
    assert.equal(await daemon.mustDocker(['start', '-a', old.Id]), 'written')
  })

  test(`${runtime}: a bind keeps the flags of the host’s mount that it comes from`, async () => {
    const locked = path.join(daemon.base, `locked-${runtime}`)
    mkdirSync(locked)
    await must(['mount', '--rbind', folder, locked])
    await must(['mount', '-o', 'remount,bind,ro,nosuid', locked])
    const script =
      'touch /m/x 2>/dev/null && echo written || echo refused; grep -c " /m .* ro,nosuid" /proc/mounts'
    assert.equal(await sh(['-v', `${locked}:/m`], script), 'refused\n1')
    assert.equal(await sh(['-v', `${locked}:/m`], touch), 'written', 'below it is another mount')
    symlinkSync(locked, `${locked}-link`)
    assert.equal(await sh(['-v', `${locked}-link:/m`], script), 'refused\n1')
  })

  test(`${runtime}: a bind that is not recursive leaves out what is mounted below`, async () => {
    const seen = 'grep -c " /m/below " /proc/mounts; true'
    assert.equal(await sh(bind('bind-recursive=disabled'), seen), '0')
    assert.equal(await sh(bind('readonly'), seen), '1')
  })

  test(`${runtime}: propagation goes both ways where the host shares the mount, and is refused where not`, async () => {
    const refused = await daemon.docker([
      ...['run', '--rm', '--runtime', runtime, '-v', `${folder}:/m:rshared`, 'busybox', 'true'],
    ])
    assert.match(refused.stderr, /path \S+ is mounted on \S+ but it is not a shared mount/)
    const shared = path.join(daemon.base, `shared-${runtime}`)
    mkdirSync(path.join(shared, 'inside'), { recursive: true })
    mkdirSync(path.join(shared, 'late'))
    await must(['mount', '--bind', shared, shared])
    await must(['mount', '--make-shared', shared])
    await sh(['--privileged', '-v', `${shared}:/m:rshared`], 'mount -t tmpfs made /m/inside')
    assert.equal((await run(['grep', '-c', `made ${shared}/inside`, '/proc/mounts'])).stdout, '1\n')
    await daemon.mustDocker([
      ...['run', '-d', '--runtime', runtime, '--name', `slave-${runtime}`, '-v', `${shared}:/m:rslave`],
      ...['busybox', 'sleep', '1000'],
    ])
    await must(['mount', '-t', 'tmpfs', 'late', `${shared}/late`])
    assert.equal(
      await daemon.mustDocker(['exec', `slave-${runtime}`, 'grep', '-c', 'late /m/late', '/proc/mounts']),
      '1',
    )
    await must(['umount', `${shared}/late`])
    await must(['umount', `${shared}/inside`])
  })

  test(`${runtime}: tmpfs options of the user’s replace the defaults; unknown ones are refused`, async () => {
    const options = (target: string): string => `grep " ${target} " /proc/mounts`
    const mount = ['--mount', 'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770']
    assert.match(await sh(mount, `${options('/t')}; stat -c %a /t`), /size=1024k[\s\S]*\n1770$/)
    const open = await sh(['--tmpfs', '/t:exec,suid,dev,size=2m'], options('/t'))
    assert.match(open, / rw,relatime,size=2048k/)
    assert.match(await sh(['--tmpfs', '/t'], options('/t')), /rw,nosuid,nodev,noexec/)
    const bad = await daemon.docker(['run', '--rm', '--tmpfs', '/t:nonsense', 'busybox', 'true'])
    assert.match(bad.stderr, /invalid tmpfs option "nonsense"/)
  })
}

test('a path alone in Binds is an anonymous volume', async () => {
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    Image: 'busybox',
    Cmd: ['true'],
    HostConfig: { Binds: ['/data'] },
  })
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{(index .Mounts 0).Type}}', Id]), 'volume')
})
