import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
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
    const closed = path.join(daemon.base, `closed-${runtime}`)
    mkdirSync(closed)
    await must(['mount', '--bind', closed, closed])
    await must(['mount', '--make-private', closed])
    const refused = await daemon.docker([
      ...['run', '--rm', '--runtime', runtime, '-v', `${closed}:/m:rshared`, 'busybox', 'true'],
    ])
    assert.match(refused.stderr, /path \S+ is mounted on \S+ but it is not a shared mount/)
    await must(['umount', closed])
    const shared = path.join(daemon.base, `shared-${runtime}`)
    mkdirSync(path.join(shared, 'inside'), { recursive: true })
    mkdirSync(path.join(shared, 'late'))
    await must(['mount', '--bind', shared, shared])
    // Of no group of the host's: else what is mounted below shows up twice there.
    await must(['mount', '--make-private', shared])
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

  test(`${runtime}: each propagation is what the container has, alone, with others, and through a link`, async () => {
    const shared = path.join(daemon.base, `each-${runtime}`)
    mkdirSync(shared)
    await must(['mount', '-t', 'tmpfs', 'each', shared])
    await must(['mount', '--make-shared', shared])
    symlinkSync(shared, `${shared}-link`)
    const tags =
      'grep " /m " /proc/self/mountinfo | sed "s/ - .*//" | grep -oE " (ro|rw),| shared:| master:" | tr -d "\n"'
    const wanted = {
      private: ' rw,',
      rprivate: ' rw,',
      slave: ' rw, master:',
      rslave: ' rw, master:',
      shared: ' rw, shared:',
      rshared: ' rw, shared:',
      'ro,rslave': ' ro, master:',
      'rshared,ro,z': ' ro, shared:',
    }
    for (const [mode, expected] of Object.entries(wanted))
      assert.equal(await sh(['-v', `${shared}:/m:${mode}`], tags), expected, mode)
    assert.equal(await sh(['-v', `${shared}-link:/m:rshared`], tags), ' rw, shared:')
    const mount = `type=bind,source=${shared},target=/m,readonly,bind-propagation=slave,bind-recursive=disabled`
    assert.equal(await sh(['--mount', mount], tags), ' ro, master:')
    await must(['umount', shared])
  })

  test(`${runtime}: the host’s root can be bound, and what holds the data root is no private mount`, async () => {
    const seen = `ls ${folder}/file && grep -c " /h " /proc/mounts`.replace(folder, `/h${folder}`)
    assert.match(await sh(['-v', '/:/h:ro'], seen), /file\n1$/)
    await daemon.mustDocker(['create', '--name', `root-${runtime}`, '-v', '/:/h', 'busybox', 'true'])
    assert.equal(
      await daemon.mustDocker(['inspect', '-f', '{{(index .Mounts 0).Propagation}}', `root-${runtime}`]),
      'rslave',
    )
    const asked = await daemon.docker(['create', '-v', '/:/h:rprivate', 'busybox', 'true'])
    assert.match(asked.stderr, /must use either propagation mode "rslave" or "rshared"/)
  })

  test(`${runtime}: with a read-only root a tmpfs and a volume can be written to, where that is asked for`, async () => {
    const options = ['--read-only', '--tmpfs', '/t', '--tmpfs', '/o:ro', '-v', '/v', '-v', `${folder}:/m:ro`]
    const script =
      'for d in / /t /o /v /m /etc; do touch $d/x 2>/dev/null && echo $d; done; touch /etc/hosts || echo hosts'
    assert.equal(await sh(options, `${script} 2>/dev/null`), '/t\n/v\nhosts')
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

test('-v makes a source that is missing when the container starts; --mount refuses it, unless told to make it', async () => {
  const missing = path.join(daemon.base, 'missing')
  await daemon.mustDocker([
    'create',
    '--name',
    'maker',
    '-v',
    `${missing}/a/b:/m`,
    'busybox',
    'touch',
    '/m/x',
  ])
  assert.equal(existsSync(missing), false)
  await daemon.mustDocker(['start', '-a', 'maker'])
  assert.ok(existsSync(`${missing}/a/b/x`))
  const refused = await daemon.docker([
    ...['create', '--mount', `type=bind,source=${missing}/c,target=/m`, 'busybox', 'true'],
  ])
  assert.match(
    refused.stderr,
    new RegExp(`invalid mount config for type "bind": bind source path does not exist: ${missing}/c`),
  )
  const made = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    Image: 'busybox',
    Cmd: ['touch', '/m/x'],
    HostConfig: {
      Mounts: [
        { Type: 'bind', Source: `${missing}/c`, Target: '/m', BindOptions: { CreateMountpoint: true } },
      ],
    },
  })
  await daemon.mustDocker(['start', '-a', made.Id])
  assert.ok(existsSync(`${missing}/c/x`))
  await daemon.mustDocker(['create', '--name', 'lost', '-v', `${missing}/c:/m`, 'busybox', 'true'])
  rmSync(`${missing}/c`, { recursive: true })
  writeFileSync(`${missing}/c`, '')
  await daemon.mustDocker(['start', '-a', 'lost'])
})

test('a path alone in Binds is an anonymous volume', async () => {
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    Image: 'busybox',
    Cmd: ['true'],
    HostConfig: { Binds: ['/data'] },
  })
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{(index .Mounts 0).Type}}', Id]), 'volume')
})
