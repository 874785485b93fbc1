import assert from 'node:assert/strict'
import { chownSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { firstRange, mappedRoot, remappedUsers, remapping, secondRange } from './harness/remappedUsers.ts'
import { isRuncBefore } from './harness/runtimes.ts'
import { must, until } from './harness/shell.ts'

/** A daemon with `--userns-remap`: containers run in user namespaces of their own. */

const ownerOf = (file: string): string => {
  const { uid, gid } = statSync(file)
  return `${uid}:${gid}`
}

const users = remappedUsers()
let daemon: TestDaemon
const nullBefore = ownerOf('/dev/null')
before(async () => {
  daemon = await startDaemon(remapping(users))
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  users[Symbol.dispose]()
})

const rootOutside = `${mappedRoot.uid}:${mappedRoot.gid}`

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)
const stderrOf = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, `${args.join(' ')} was to be refused`)
  return stderr
}
const inspect = (name: string, form: string): Promise<string> => docker('inspect', '-f', form, name)

/** Where a container's own files are on the disk. */
const onDisk = async (name: string): Promise<string> =>
  path.join(daemon.dataRoot, 'uppers', await inspect(name, '{{.Id}}'), 'diff')

const dataOf = (volume: string): string => path.join(daemon.dataRoot, 'volumes', volume, '_data')

const namespaceOf = async (name: string, kind: string): Promise<string> =>
  must(['readlink', `/proc/${await inspect(name, '{{.State.Pid}}')}/ns/${kind}`])

/** The list of an archive: owner and name of each entry. */
const listed = async (command: string): Promise<string[]> =>
  (
    await must(['sh', '-c', `${daemon.client} ${command} | tar --numeric-owner -tv`], {
      env: daemon.dockerEnv,
    })
  )
    .split('\n')
    .map(line => line.split(/\s+/))
    .map(words => `${words[1]} ${words[5]}`)

for (const runtime of ['crun', 'runc']) {
  const run = (...args: string[]): Promise<string> => docker('run', '--runtime', runtime, ...args)

  test(`${runtime}: root inside is nobody outside, and the image's owners are as in the image`, async () => {
    const script = [
      ...['id -u', 'cat /proc/self/uid_map', 'cat /proc/self/gid_map'],
      ...['stat -c %n:%u:%g / /bin/busybox /etc/passwd /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm'],
      ...[
        'echo written >/dev/stdout',
        'echo also >/dev/stderr',
        'cat </dev/stdin',
        'cat /proc/sys/net/ipv4/ping_group_range',
      ],
    ].join('; ')
    const { stdout, stderr } = await daemon.docker([
      'run',
      '--rm',
      '--runtime',
      runtime,
      'busybox',
      'sh',
      '-c',
      script,
    ])
    const lines = stdout.split('\n').map(line => line.trim().replace(/\s+/g, ' '))
    assert.deepEqual(lines, [
      '0',
      `0 ${mappedRoot.uid} ${firstRange}`,
      `${firstRange} ${secondRange.uid} ${65536 - firstRange}`,
      `0 ${mappedRoot.gid} ${firstRange}`,
      `${firstRange} ${secondRange.gid} ${65536 - firstRange}`,
      ...['/:0:0', '/bin/busybox:0:0', '/etc/passwd:0:0', '/etc/hosts:0:0', '/etc/hostname:0:0'],
      ...['/etc/resolv.conf:0:0', '/dev/shm:0:0', 'written', '0 65535', ''],
    ])
    assert.equal(stderr, 'also\n')
    assert.equal(ownerOf('/dev/null'), nullBefore, 'the host’s own is as it was')
  })

  test(`${runtime}: what a container writes lies on disk as it is seen inside`, async () => {
    const name = `writes-${runtime}`
    const script = `touch /roots /users /far; chown 5:6 /users; chown ${firstRange + 7}:${firstRange + 8} /far; rm -r /etc/group /home /var; echo x >>/etc/passwd; mkdir /home /home/in; mv /tmp /tmp2; mkdir /new; exec sleep 1000`
    await run('-d', '--name', name, 'busybox', 'sh', '-c', script)
    const upper = await onDisk(name)
    await until('it has written', () => Promise.resolve(existsSync(path.join(upper, 'new'))))
    const owners = (...names: string[]): string[] => names.map(file => ownerOf(path.join(upper, file)))
    assert.deepEqual(owners('', 'roots', 'users', 'far', 'etc/passwd', 'new'), [
      ...['0:0', '0:0', '5:6', `${firstRange + 7}:${firstRange + 8}`, '0:0', '0:0'],
    ])
    const pid = await inspect(name, '{{.State.Pid}}')
    assert.equal(ownerOf(`/proc/${pid}/root/roots`), rootOutside)
    assert.equal(ownerOf(`/proc/${pid}/root/far`), `${secondRange.uid + 7}:${secondRange.gid + 8}`)
    assert.equal(
      await must(['find', upper, '!', '-type', 'c', '(', '-uid', '+65535', '-o', '-gid', '+65535', ')']),
      '',
      'nothing but whiteouts is of root of the host',
    )
    const changes = (await docker('diff', name)).split('\n').sort()
    assert.deepEqual(changes, [
      ...['A /far', 'A /home/in', 'A /new', 'A /roots', 'A /tmp2', 'A /users', 'C /etc', 'C /etc/passwd'],
      ...['C /home', 'D /etc/group', 'D /tmp', 'D /var'],
    ])
    await docker('commit', name, `written-${runtime}`)
    const look = ['stat', '-c', '%n:%u:%g', '/roots', '/users', '/far']
    const seen = ['/roots:0:0', '/users:5:6', `/far:${firstRange + 7}:${firstRange + 8}`].join('\n')
    assert.equal(await run('--rm', `written-${runtime}`, ...look), seen)
    assert.equal(await run('--rm', '--userns=host', `written-${runtime}`, ...look), seen)
    const exported = await listed(`export ${name}`)
    for (const entry of [
      '0/0 roots',
      '5/6 users',
      `${firstRange + 7}/${firstRange + 8} far`,
      '0/0 bin/busybox',
    ])
      assert.ok(exported.includes(entry), entry)
    await docker('rm', '-f', name)
  })

  test(`${runtime}: exec, users, terminals, top, update, stats and restarts work`, async () => {
    const name = `lives-${runtime}`
    await run('-d', '--name', name, '--user', '1000', 'busybox', 'sleep', '1000')
    assert.match(
      await docker('exec', name, 'sh', '-c', 'id -u; id -g; echo out >/dev/stdout'),
      /^1000\n1000\nout$/,
    )
    assert.equal(
      await docker('exec', '-u', '0', name, 'sh', '-c', 'id -u; touch /by-root; stat -c %u /by-root'),
      '0\n0',
    )
    assert.match(await docker('exec', '-t', name, 'tty'), /\/dev\/pts\/0/)
    assert.equal(await docker('exec', '-i', '-u', '0', name, 'cat', '/dev/stdin'), '')
    assert.match(await docker('top', name, '-o', 'uid,pid'), new RegExp(`\\b${secondRange.uid}\\b`))
    await docker('update', '--memory', '100m', '--memory-swap', '200m', name)
    assert.match(await docker('stats', '--no-stream', name), /100MiB/)
    const probed = `probed-${runtime}`
    await run(
      ...['-d', '--name', probed, '--health-cmd', 'test $(id -u) = 0', '--health-interval', '100ms'],
      ...['busybox', 'sleep', '1000'],
    )
    await until(
      'it is healthy',
      async () => (await inspect(probed, '{{.State.Health.Status}}')) === 'healthy',
    )
    await docker('rm', '-f', probed)
    await docker('restart', '-t', '0', name)
    assert.equal(await docker('exec', name, 'stat', '-c', '%u', '/by-root'), '0')
    const limits = ['--ulimit', 'nofile=100:200', '--oom-score-adj', '100']
    await run('-d', '--name', `limits-${runtime}`, ...limits, 'busybox', 'sleep', '1000')
    const look = 'ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj'
    // A runc before 1.1.13 may set the soft limit of files too early: its own runtime raises it again.
    const soft = (await isRuncBefore(runtime, '1.1.13')) ? '[12]00' : '100'
    assert.match(
      await docker('exec', `limits-${runtime}`, 'sh', '-c', look),
      new RegExp(`^${soft}\n200\n100$`),
    )
    assert.equal(await run('--rm', ...limits, 'busybox', 'sh', '-c', look), '100\n200\n100')
    await docker('rm', '-f', `limits-${runtime}`)
    assert.match(await run('--rm', '--init', 'busybox', 'ps'), /1 root +\/sbin\/docker-init/)
    assert.equal(
      await run('--rm', '--ipc', 'host', '--uts', 'host', '--cgroupns', 'host', 'busybox', 'id', '-u'),
      '0',
    )
    await daemon.restart()
    assert.equal(await docker('exec', name, 'id', '-u'), '1000')
    const pid = Number(await inspect(name, '{{.State.Pid}}'))
    await daemon.kill()
    process.kill(pid, 'SIGKILL')
    await daemon.start()
    assert.equal(await inspect(name, '{{.State.Status}}'), 'exited')
    await docker('start', name)
    assert.equal(await docker('exec', name, 'id', '-u'), '1000')
    await audit(daemon, name)
    await docker('rm', '-f', name)
    assert.deepEqual(pins(), [])
  })

  test(`${runtime}: volumes belong to root of the container, copied content to whom it belongs in the image`, async () => {
    const [named, filled] = [`named-${runtime}`, `filled-${runtime}`]
    await docker('volume', 'create', named)
    assert.equal(ownerOf(dataOf(named)), rootOutside)
    await run(
      '--name',
      `fills-${runtime}`,
      'busybox',
      'sh',
      '-c',
      'mkdir /srv; echo a >/srv/a; chown -R 7:8 /srv',
    )
    await docker('commit', `fills-${runtime}`, `full-${runtime}`)
    const script = 'stat -c %n:%u:%g /named /srv /srv/a /anonymous; touch /named/b /srv/b /anonymous/b'
    const volumes = ['-v', `${named}:/named`, '-v', `${filled}:/srv`, '-v', '/anonymous']
    assert.equal(
      await run('--rm', ...volumes, `full-${runtime}`, 'sh', '-c', script),
      '/named:0:0\n/srv:7:8\n/srv/a:7:8\n/anonymous:0:0',
    )
    assert.equal(ownerOf(path.join(dataOf(named), 'b')), rootOutside)
    for (const file of ['', 'a'])
      assert.equal(
        ownerOf(path.join(dataOf(filled), file)),
        `${mappedRoot.uid + 7}:${mappedRoot.gid + 8}`,
        file,
      )
    assert.equal(await run('--rm', ...volumes, 'busybox', 'cat', '/srv/a'), 'a')
    await docker('rm', `fills-${runtime}`)
    await docker('volume', 'rm', named, filled)
  })

  test(`${runtime}: binds have their owners of the host, a made source is for root of the container`, async () => {
    const base = path.join(daemon.base, `binds-${runtime}`)
    mkdirSync(base)
    for (const [file, uid] of [
      ['roots', 0],
      ['mapped', mappedRoot.uid],
    ] as const) {
      writeFileSync(path.join(base, file), file, { mode: 0o600 })
      chownSync(path.join(base, file), uid, uid)
    }
    const script = 'cd /m; stat -c %n:%u *; cat mapped; cat roots 2>&1; touch /made/x; touch /ro/x 2>&1'
    assert.equal(
      await run(
        ...['--rm', '-v', `${base}:/m`, '-v', `${base}/new/deep:/made`, '-v', `${base}/new:/ro:ro`],
        ...['busybox', 'sh', '-c', `${script}; true`],
      ),
      [
        ...['mapped:0', 'new:0', 'roots:65534'],
        "mappedcat: can't open 'roots': Permission denied",
        'touch: /ro/x: Read-only file system',
      ].join('\n'),
    )
    for (const made of ['new', 'new/deep', 'new/deep/x'])
      assert.equal(ownerOf(path.join(base, made)), rootOutside)
  })

  test(`${runtime}: a bind can be mapped by the container's own user namespace, or for its user`, async () => {
    const base = path.join(daemon.base, `mapped-${runtime}`)
    mkdirSync(base)
    writeFileSync(path.join(base, 'roots'), 'x', { mode: 0o600 })
    writeFileSync(path.join(base, 'users'), 'x', { mode: 0o600 })
    chownSync(path.join(base, 'users'), 1000, 1000)
    const printed = async (mapping: object, script: string, user = ''): Promise<string> => {
      const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
        ...{ Image: 'busybox', Cmd: ['sh', '-c', script], User: user },
        HostConfig: {
          Runtime: runtime,
          Mounts: [{ Type: 'bind', Source: base, Target: '/m', BindOptions: { IDMapping: mapping } }],
        },
      })
      const { stdout, stderr } = await daemon.docker(['start', '-a', Id])
      await docker('rm', Id)
      return `${stdout}${stderr}`.trimEnd()
    }
    const look = 'cd /m; stat -c %n:%u roots users; touch made; chown 7:8 made'
    assert.equal(await printed({ Source: 'userns' }, look), 'roots:0\nusers:1000')
    assert.equal(ownerOf(path.join(base, 'made')), '7:8')
    chownSync(base, 1234, 1235)
    assert.equal(
      await printed({ Source: 'match-user' }, 'stat -c %u:%g /m; touch /m/mine', '1000'),
      '1000:1000',
    )
    assert.equal(ownerOf(path.join(base, 'mine')), '1234:1235')
  })

  test(`${runtime}: docker cp gives and takes owners as inside, whether the container runs or not`, async () => {
    const name = `copies-${runtime}`
    const source = path.join(daemon.base, `copy-${runtime}`)
    mkdirSync(path.join(source, 'sub'), { recursive: true })
    writeFileSync(path.join(source, 'sub/file'), 'x')
    chownSync(path.join(source, 'sub/file'), 9, firstRange + 3)
    await run('--name', name, '-v', `/in-volume`, '-v', `${daemon.base}:/deep/new/bind`, 'busybox', 'true')
    for (const state of ['stopped', 'running']) {
      if (state === 'running') {
        await docker('rm', '-f', '-v', name)
        await run('-d', '--name', name, '-v', `/in-volume`, 'busybox', 'sleep', '1000')
      }
      for (const place of ['/copied', '/in-volume/copied']) {
        await docker('cp', '-a', source, `${name}:${place}`)
        const entries = await listed(`cp ${name}:${place} -`)
        for (const entry of ['0/0 copied/', '0/0 copied/sub/', `9/${firstRange + 3} copied/sub/file`])
          assert.ok(entries.includes(entry), `${state} ${place} ${entry}: ${entries}`)
      }
      const upper = await onDisk(name)
      assert.equal(ownerOf(path.join(upper, 'copied/sub/file')), `9:${firstRange + 3}`, state)
      if (state === 'stopped')
        assert.equal(ownerOf(path.join(upper, 'deep/new')), '0:0', 'a place of a mount')
    }
    const far = path.join(daemon.base, 'far')
    writeFileSync(far, 'x')
    chownSync(far, 70_000, 0)
    assert.match(
      await stderrOf('cp', '-a', far, `${name}:/far`),
      /Container ID 70000 cannot be mapped to a host ID/,
    )
    await docker('rm', '-f', '-v', name)
  })

  test(`${runtime}: networks, names, ports and sysctls work in a network namespace of the container's own`, async () => {
    await docker('network', 'create', `net-${runtime}`)
    const [web, other] = [`web-${runtime}`, `other-${runtime}`]
    await run(
      ...[
        '-d',
        '--name',
        web,
        '--network',
        `net-${runtime}`,
        '-p',
        '8080',
        '--sysctl',
        'net.core.somaxconn=77',
      ],
      ...['busybox', 'sh', '-c', 'echo served >/tmp/x; exec httpd -f -p 8080 -h /tmp'],
    )
    assert.equal(
      await run('--rm', '--network', `net-${runtime}`, 'busybox', 'wget', '-qO-', `http://${web}:8080/x`),
      'served',
    )
    const port = (await docker('port', web, '8080')).split(':').at(-1) ?? ''
    assert.equal((await daemon.onHost(['curl', '-s', `http://127.0.0.1:${port}/x`])).stdout, 'served\n')
    assert.equal(await docker('exec', web, 'cat', '/proc/sys/net/core/somaxconn'), '77')
    assert.match(
      await run(
        '--rm',
        '--cap-add',
        'NET_ADMIN',
        'busybox',
        'sh',
        '-c',
        'ip link set lo mtu 1400; ip link show lo',
      ),
      /mtu 1400/,
    )
    assert.equal(await run('--rm', '--network', 'none', 'busybox', 'sh', '-c', 'ip -o link | wc -l'), '1')
    await run('-d', '--name', other, 'busybox', 'sleep', '1000')
    await docker('network', 'connect', `net-${runtime}`, other)
    assert.equal(await docker('exec', other, 'wget', '-qO-', `http://${web}:8080/x`), 'served')
    await docker('rm', '-f', web, other)
    await docker('network', 'rm', `net-${runtime}`)
  })

  test(`${runtime}: who joins another's namespaces is in its user namespace`, async () => {
    const name = `joined-${runtime}`
    await run('-d', '--name', name, '--ipc', 'shareable', 'busybox', 'sleep', '1000')
    const user = await namespaceOf(name, 'user')
    for (const [kind, ...options] of [
      ['net', '--network', `container:${name}`],
      ['pid', '--pid', `container:${name}`],
      ['ipc', '--ipc', `container:${name}`],
    ] as const) {
      const joiner = `joiner-${kind}-${runtime}`
      await run('-d', '--name', joiner, ...options, 'busybox', 'sleep', '1000')
      assert.equal(await namespaceOf(joiner, 'user'), user, kind)
      assert.equal(await namespaceOf(joiner, kind), await namespaceOf(name, kind), kind)
      assert.equal(await docker('exec', joiner, 'sh', '-c', 'touch /x; stat -c %u /x /dev/shm'), '0\n0')
      await docker('rm', '-f', joiner)
    }
    const second = `second-${runtime}`
    await run('-d', '--name', second, 'busybox', 'sleep', '1000')
    assert.notEqual(await namespaceOf(second, 'user'), user, 'each has its own')
    assert.match(
      await stderrOf(
        'run',
        '--rm',
        '--pid',
        `container:${name}`,
        '--network',
        `container:${second}`,
        'busybox',
        'true',
      ),
      /run in different user namespaces/,
    )
    const free = `free-${runtime}`
    await run('-d', '--name', free, '--userns', 'host', 'busybox', 'sleep', '1000')
    assert.match(
      await stderrOf('run', '--rm', '--network', `container:${free}`, 'busybox', 'true'),
      /runs in the user namespace of the host/,
    )
    assert.equal(
      await run('--rm', '--userns', 'host', '--network', `container:${name}`, 'busybox', 'id', '-u'),
      '0',
    )
    await docker('rm', '-f', name, second, free)
  })

  test(`${runtime}: --userns=host has none of it`, async () => {
    const name = `host-${runtime}`
    await run(
      '-d',
      '--name',
      name,
      '--userns',
      'host',
      '--privileged',
      '--network',
      'host',
      '--pid',
      'host',
      'busybox',
      'sleep',
      '1000',
    )
    assert.equal(await namespaceOf(name, 'user'), await must(['readlink', '/proc/self/ns/user']))
    assert.equal(await inspect(name, '{{.HostConfig.UsernsMode}}'), 'host')
    await docker('exec', name, 'touch', '/x')
    const pid = await inspect(name, '{{.State.Pid}}')
    assert.equal(ownerOf(`/proc/${pid}/root/x`), '0:0')
    await docker('rm', '-f', name)
  })

  test(`${runtime}: images that are mounted, devices and a read-only root work`, async () => {
    const script =
      'stat -c %u /image/bin/busybox; test -c /dev/given && echo device; touch /x 2>&1; touch /tmp/x && echo tmpfs'
    const { Id } = await daemon.json<{ Id: string }>('POST', '/v1.48/containers/create', {
      ...{ Image: 'busybox', Cmd: ['sh', '-c', script] },
      HostConfig: {
        Runtime: runtime,
        ReadonlyRootfs: true,
        Tmpfs: { '/tmp': '' },
        Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/given', CgroupPermissions: 'rwm' }],
        Mounts: [{ Type: 'image', Source: 'busybox', Target: '/image' }],
      },
    })
    assert.equal(await docker('start', '-a', Id), '0\ndevice\ntouch: /x: Read-only file system\ntmpfs')
    await docker('rm', Id)
  })
}

const pins = (): string[] => {
  const folder = path.join(daemon.execRoot, 'userns')
  return existsSync(folder) ? readdirSync(folder) : []
}

test('what cannot be in a user namespace is refused in Docker’s words', async () => {
  assert.match(
    await stderrOf('create', '--privileged', 'busybox'),
    /privileged mode is incompatible with user namespaces\. {2}You must run the container in the host namespace when running privileged mode/,
  )
  assert.match(
    await stderrOf('create', '--network', 'host', 'busybox'),
    /cannot share the host's network namespace when user namespaces are enabled/,
  )
  assert.match(
    await stderrOf('create', '--pid', 'host', 'busybox'),
    /cannot share the host PID namespace when user namespaces are enabled/,
  )
  const Mounts = [
    { Type: 'bind', Source: daemon.base, Target: '/m', BindOptions: { IDMapping: { Source: 'userns' } } },
  ]
  const { status, text } = await daemon.api('POST', '/containers/create', {
    ...{ Image: 'busybox', HostConfig: { Mounts, UsernsMode: 'host' } },
  })
  assert.equal(status, 400)
  assert.match(text, /needs a container with a user namespace of its own/)
})

test('docker info names it, and a container keeps its user namespace when the daemon gives none any more', async () => {
  assert.match(await docker('info', '-f', '{{.SecurityOptions}}'), /name=userns/)
  await docker(
    'create',
    '--name',
    'kept',
    '-v',
    'kept:/kept',
    'busybox',
    'sh',
    '-c',
    'id -u; cat /proc/self/uid_map; stat -c %u /kept',
  )
  await daemon.restart({ flags: ['--userns-remap='] })
  assert.doesNotMatch(await docker('info', '-f', '{{.SecurityOptions}}'), /name=userns/)
  assert.match(await docker('start', '-a', 'kept'), new RegExp(`^0\\n +0 +${mappedRoot.uid}[^]*\\n0$`))
  assert.equal(
    await docker('run', '--rm', '-v', 'kept:/kept', 'busybox', 'stat', '-c', '%u', '/kept'),
    `${mappedRoot.uid}`,
  )
  await docker('run', '-d', '--name', 'plain', 'busybox', 'sleep', '1000')
  await daemon.restart()
  assert.match(
    await stderrOf('run', '--rm', '--network', 'container:plain', 'busybox', 'true'),
    /runs in the user namespace of the host/,
  )
  await docker('rm', '-f', 'kept', 'plain')
  await docker('volume', 'rm', 'kept')
})

/** The first line of a new container's map of users. */
const mapOf = async (): Promise<string[]> =>
  (await docker('run', '--rm', 'busybox', 'head', '-n', '1', '/proc/self/uid_map')).trim().split(/\s+/)

test('a user may be named or numbered, and have a group', async () => {
  for (const value of ['4321', 'mapped:others', '4321:4500']) {
    await daemon.restart({ flags: [`--userns-remap=${value}`] })
    assert.deepEqual(await mapOf(), ['0', `${mappedRoot.uid}`, `${firstRange}`], value)
  }
  await daemon.restart({ flags: ['--userns-remap=root'] })
  assert.match(daemon.log, /root cannot be remapped with itself; user namespaces are OFF/)
  assert.deepEqual(await mapOf(), ['0', '0', '4294967295'])
  await daemon.restart()
})

/** What a machine has for new users, for the folder that stands in for /etc. */
const tools = {
  adduser:
    'for name; do :; done; echo "$name:x:998:998::/:" >>"$BERTH_TEST_ETC/passwd"; echo "$name:x:998:" >>"$BERTH_TEST_ETC/group"',
  usermod:
    'case $1 in -v) file=subuid;; -w) file=subgid;; esac; echo "$3:${2%-*}:65536" >>"$BERTH_TEST_ETC/$file"',
}

test('the user dockremap is made where it is not there, with ranges that are free', async () => {
  const folder = path.join(daemon.base, 'tools')
  mkdirSync(folder)
  for (const [name, script] of Object.entries(tools))
    writeFileSync(path.join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const env = { PATH: `${folder}:${process.env['PATH']}` }
  const flags = ['--userns-remap=default']
  await daemon.restart({ flags, env })
  assert.deepEqual(await mapOf(), ['0', '201000', '65536'])
  await daemon.restart({ flags })
  assert.deepEqual(await mapOf(), ['0', '201000', '65536'], 'it is there')
  await daemon.restart()
})

test('a boot ends its namespaces, and it starts again', async () => {
  await docker('run', '-d', '--name', 'boots', '--restart', 'always', 'busybox', 'sleep', '1000')
  await daemon.loseKernelObjects()
  await daemon.start({ env: { BERTH_TEST_BOOT_ID: 'another' } })
  await until('it runs again', async () => (await inspect('boots', '{{.State.Status}}')) === 'running')
  assert.equal(await docker('exec', 'boots', 'stat', '-c', '%u', '/'), '0')
  await audit(daemon, 'a boot')
  await docker('rm', '-f', 'boots')
  assert.deepEqual(pins(), [])
  assert.equal(ownerOf('/dev/null'), nullBefore)
})
