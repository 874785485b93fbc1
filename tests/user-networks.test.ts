import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon({})
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...words: string[]): Promise<string> => daemon.mustDocker(words)
const sleeper = (name: string, ...options: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...options, 'busybox', 'sleep', '1000')
const inspect = async (name: string, format: string): Promise<string> => docker('inspect', '-f', format, name)
const addressOf = (name: string, network: string): Promise<string> =>
  inspect(name, `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`)
const pings = async (from: string, address: string): Promise<boolean> =>
  (await daemon.docker(['exec', from, 'ping', '-c', '1', '-W', '2', address])).code === 0

const refused = async (words: string[], message: RegExp): Promise<void> => {
  const { code, stderr } = await daemon.docker(words)
  assert.notEqual(code, 0, words.join(' '))
  assert.match(stderr, message)
}

describe('user-defined bridge networks', () => {
  test('create: subnet, gateway, range, reserved addresses, labels and options, as inspect shows them', async () => {
    const id = await docker(
      ...['network', 'create', '--subnet', '10.91.0.0/16', '--ip-range', '10.91.5.0/24'],
      ...['--gateway', '10.91.0.254', '--aux-address', 'router=10.91.5.1', '--label', 'a=b', '--attachable'],
      ...['-o', 'com.docker.network.bridge.name=own1', '-o', 'com.docker.network.driver.mtu=1400', 'full'],
    )
    assert.match(id, /^[0-9a-f]{64}$/)
    const [shown] = JSON.parse(await docker('network', 'inspect', 'full'))
    assert.deepEqual(shown.IPAM, {
      Driver: 'default',
      Options: {},
      Config: [
        {
          Subnet: '10.91.0.0/16',
          IPRange: '10.91.5.0/24',
          Gateway: '10.91.0.254',
          AuxiliaryAddresses: { router: '10.91.5.1' },
        },
      ],
    })
    assert.deepEqual(
      [shown.Driver, shown.Attachable, shown.Internal, shown.Labels],
      ['bridge', true, false, { a: 'b' }],
    )
    await sleeper('f1', '--network', 'full')
    assert.match(await addressOf('f1', 'full'), /^10\.91\.5\.[02-9]\d*$/)
    assert.match(await docker('exec', 'f1', 'ip', 'route'), /default via 10\.91\.0\.254/)
    assert.equal(await docker('exec', 'f1', 'cat', '/sys/class/net/eth0/mtu'), '1400')
    assert.match((await daemon.onHost(['ip', '-4', 'addr', 'show', 'own1'])).stdout, /10\.91\.0\.254\/16/)
    const [{ Containers: users }] = JSON.parse(await docker('network', 'inspect', 'full'))
    assert.deepEqual(
      Object.values(users).map(user => (user as { Name: string }).Name),
      ['f1'],
    )
    await refused(
      ['network', 'rm', 'full'],
      /network full has active endpoints \(name:"f1" id:"[0-9a-f]{12}"\)/,
    )
    await docker('rm', '-f', 'f1')
    await docker('network', 'rm', 'full')
    assert.notEqual((await daemon.onHost(['ip', 'link', 'show', 'own1'])).code, 0)
  })

  test('what cannot be created is refused in Docker’s words, and nothing of it stays', async () => {
    await docker('network', 'create', '--subnet', '10.92.0.0/24', 'taken')
    const create = ['network', 'create']
    await refused([...create, 'taken'], /network with name taken already exists/)
    await refused([...create, 'bridge'], /operation is not permitted on predefined bridge network/)
    await refused(
      [...create, '--subnet', '10.92.0.0/25', 'kept-x'],
      /Pool overlaps with other one on this address space/,
    )
    await refused(
      [...create, '--subnet', '10.93.0.1/24', 'kept-x'],
      /invalid subnet 10\.93\.0\.1\/24: it should be 10\.93\.0\.0\/24/,
    )
    const wrongGateway = { Subnet: '10.93.0.0/24', Gateway: '10.94.0.1' }
    const answer = await daemon.api('POST', '/networks/create', {
      Name: 'x',
      IPAM: { Config: [wrongGateway] },
    })
    assert.equal(answer.status, 400)
    assert.match(
      answer.text,
      /invalid gateway 10\.94\.0\.1: parent subnet 10\.93\.0\.0\/24 doesn't contain this address/,
    )
    await refused([...create, '-d', 'host', 'x'], /only one instance of "host" network is allowed/)
    await refused([...create, '-d', 'nosuch', 'x'], /plugin "nosuch" not found/)
    await refused(
      [...create, '-o', 'com.docker.network.bridge.enable_icc=perhaps', 'x'],
      /enable_icc value: "perhaps"/,
    )
    await refused(
      [...create, '-o', 'com.docker.network.bridge.gateway_mode_ipv4=isolated', 'x'],
      /can only be used for an internal network/,
    )
    assert.equal(await docker('network', 'ls', '-q', '-f', 'name=x'), '')
    await refused(['network', 'rm', 'host'], /host is a pre-defined network and cannot be removed/)
    await docker('network', 'rm', 'taken')
  })

  test('pools keep clear of the host’s routes, also of those that came later', async () => {
    await docker('network', 'create', 'first')
    const subnetOf = async (name: string): Promise<string> =>
      docker('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', name)
    assert.equal(await subnetOf('first'), '172.18.0.0/16')
    await daemon.onHost(['ip', 'link', 'add', 'vpn0', 'type', 'bridge'])
    await daemon.onHost(['ip', 'addr', 'add', '172.19.3.1/24', 'dev', 'vpn0'])
    await daemon.onHost(['ip', 'link', 'set', 'vpn0', 'up'])
    await docker('network', 'create', 'second')
    assert.equal(await subnetOf('second'), '172.20.0.0/16')
    await daemon.onHost(['ip', 'link', 'del', 'vpn0'])
    await docker('network', 'rm', 'first', 'second')
  })

  test('containers of one network reach one another, those of two do not, and internal ones nobody else', async () => {
    for (const name of ['front', 'back']) await docker('network', 'create', name)
    await docker('network', 'create', '--internal', 'closed')
    await sleeper('one-a', '--network', 'front')
    await sleeper('one-b', '--network', 'front')
    await sleeper('two-c', '--network', 'back')
    await sleeper('in-d', '--network', 'closed')
    await sleeper('in-e', '--network', 'closed')
    const [b, c, e] = [
      await addressOf('one-b', 'front'),
      await addressOf('two-c', 'back'),
      await addressOf('in-e', 'closed'),
    ]
    assert.equal(await pings('one-a', b), true)
    assert.equal(await pings('one-a', c), false)
    assert.equal(await pings('in-d', e), true)
    assert.equal(await pings('one-a', e), false)
    assert.doesNotMatch(await docker('exec', 'in-d', 'ip', 'route'), /default/)
    await docker('rm', '-f', 'one-a', 'one-b', 'two-c', 'in-d', 'in-e')
    await docker('network', 'rm', 'front', 'back', 'closed')
  })

  for (const [seen, value] of [
    ['sees', '1'],
    ['does not see', '0'],
  ])
    test(`without inter-container traffic only published ports lead from one to another, where the firewall ${seen} what is bridged`, async () => {
      const setting = '/proc/sys/net/bridge/bridge-nf-call-iptables'
      await daemon.onHost(['sh', '-c', `if [ -e ${setting} ]; then echo ${value} > ${setting}; fi`])
      await docker('network', 'create', '-o', 'com.docker.network.bridge.enable_icc=false', 'quiet')
      const page = 'mkdir /w; echo page > /w/index.html; httpd -f -h /w'
      await docker(
        'run',
        '-d',
        '--name',
        'web',
        '--network',
        'quiet',
        '-p',
        '8099:80',
        'busybox',
        'sh',
        '-c',
        page,
      )
      await sleeper('client', '--network', 'quiet')
      const address = await addressOf('web', 'quiet')
      const gateway = await inspect('web', '{{(index .NetworkSettings.Networks "quiet").Gateway}}')
      await docker(
        'exec',
        'web',
        'sh',
        '-c',
        'until wget -q -O /dev/null http://127.0.0.1/; do sleep 0.1; done',
      )
      const fetch = async (url: string): Promise<string> =>
        (await daemon.docker(['exec', 'client', 'timeout', '5', 'wget', '-q', '-O', '-', url])).stdout
      assert.equal(await fetch(`http://${gateway}:8099/`), 'page\n')
      assert.equal(await fetch(`http://${address}/`), '')
      assert.equal(await pings('client', address), false)
      await docker('rm', '-f', 'web', 'client')
      await docker('network', 'rm', 'quiet')
    })

  test('an address, a MAC address and a link’s name that were asked for are kept over a restart', async () => {
    await docker('network', 'create', '--subnet', '10.95.0.0/24', 'fixed')
    await sleeper('still', '--network', 'name=fixed,ip=10.95.0.77,mac-address=02:42:0a:5f:00:01')
    const shown = (): Promise<string> => docker('exec', 'still', 'ip', 'addr', 'show', 'eth0')
    for (let round = 0; round < 3; round++) {
      assert.match(await shown(), /02:42:0a:5f:00:01[\s\S]*10\.95\.0\.77\/24/)
      await docker('restart', '-t', '0', 'still')
    }
    await refused(
      ['run', '--rm', '--network', 'fixed', '--ip', '10.95.0.77', 'busybox', 'true'],
      /Address already in use/,
    )
    await refused(
      ['run', '--rm', '--network', 'fixed', '--ip', '10.96.0.7', 'busybox', 'true'],
      /no configured subnet contains IP address 10\.96\.0\.7/,
    )
    await refused(
      ['run', '--rm', '--ip', '172.17.0.50', 'busybox', 'true'],
      /user-specified IP address is supported on user-defined networks only/,
    )
    await docker('rm', '-f', 'still')
    await docker('network', 'rm', 'fixed')
  })

  test('link-local addresses and settings of an interface reach it, and the addresses inspect', async () => {
    await daemon.mustDocker(['network', 'create', 'local'])
    await daemon.mustDocker([
      ...['run', '-d', '--name', 'near', '--network', 'local', '--link-local-ip', '169.254.7.7'],
      ...['busybox', 'sleep', '600'],
    ])
    assert.match(
      await daemon.mustDocker(['exec', 'near', 'ip', '-o', '-4', 'addr', 'show', 'eth0']),
      /inet 169\.254\.7\.7\/16 /,
    )
    const ipam = '{{json .NetworkSettings.Networks.local.IPAMConfig}}'
    assert.equal(await daemon.mustDocker(['inspect', '-f', ipam, 'near']), '{"LinkLocalIPs":["169.254.7.7"]}')
    const option = 'driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1'
    assert.equal(
      await daemon.mustDocker([
        ...[
          'run',
          '--rm',
          '--network',
          `name=local,link-local-ip=169.254.7.8,${option}`,
          'busybox',
          'sh',
          '-c',
        ],
        'ping -c 1 -w 20 169.254.7.7 >/dev/null && cat /proc/sys/net/ipv4/conf/eth0/log_martians',
      ]),
      '1',
    )
    const wrong = await daemon.docker([
      ...['run', '--rm', '--network', 'local', '--link-local-ip', '0.0.0.0', 'busybox', 'true'],
    ])
    assert.match(wrong.stderr, /invalid link-local IP address: 0\.0\.0\.0/)
    await daemon.mustDocker(['rm', '-f', 'near'])
    await daemon.mustDocker(['network', 'rm', 'local'])
  })

  test('connect and disconnect: of one that runs, and of one that does not', async () => {
    await docker('network', 'create', 'left')
    await docker('network', 'create', 'right')
    await sleeper('mid', '--network', 'left')
    await sleeper('far', '--network', 'right')
    const far = await addressOf('far', 'right')
    assert.equal(await pings('mid', far), false)
    await docker('network', 'connect', '--alias', 'middle', 'right', 'mid')
    assert.equal(await pings('mid', far), true)
    const own = await addressOf('mid', 'right')
    assert.match(await docker('exec', 'mid', 'cat', '/etc/hosts'), new RegExp(`^${own}\t`, 'm'))
    await refused(
      ['network', 'connect', 'right', 'mid'],
      /endpoint with name mid already exists in network right/,
    )
    await docker('network', 'disconnect', 'right', 'mid')
    assert.equal(await pings('mid', far), false)
    assert.doesNotMatch(await docker('exec', 'mid', 'cat', '/etc/hosts'), new RegExp(`^${own}\t`, 'm'))
    await refused(['network', 'disconnect', 'right', 'mid'], /is not connected to network right/)
    await docker('stop', '-t', '0', 'mid')
    await docker('network', 'connect', 'right', 'mid')
    await docker('network', 'disconnect', 'left', 'mid')
    await docker('start', 'mid')
    assert.equal(await pings('mid', far), true)
    await refused(['network', 'connect', 'host', 'mid'], /container must be created in host network mode/)
    await docker('rm', '-f', 'mid', 'far')
    await docker('network', 'rm', 'left', 'right')
  })

  test('the way out and the published ports go by the network with the highest priority, and move', async () => {
    await docker('network', 'create', '--subnet', '10.97.1.0/24', 'aa')
    await docker('network', 'create', '--subnet', '10.97.2.0/24', 'bb')
    const page = 'mkdir /w; echo page > /w/index.html; httpd -f -h /w'
    const created = await daemon.api('POST', '/containers/create?name=two', {
      ...{ Image: 'busybox', Cmd: ['sh', '-c', page] },
      HostConfig: { NetworkMode: 'aa', PortBindings: { '80/tcp': [{ HostPort: '8098' }] } },
      NetworkingConfig: { EndpointsConfig: { aa: {}, bb: { GwPriority: 1 } } },
    })
    assert.equal(created.status, 201, created.text)
    await docker('start', 'two')
    const route = async (): Promise<string> =>
      /default via (\S+)/.exec(await docker('exec', 'two', 'ip', 'route'))?.[1] ?? ''
    const fetch = async (): Promise<string> =>
      (
        await daemon.onHost([
          'curl',
          '-s',
          '-m',
          '10',
          '--retry',
          '10',
          '--retry-connrefused',
          'http://127.0.0.1:8098',
        ])
      ).stdout
    assert.equal(await route(), '10.97.2.1')
    assert.equal(await fetch(), 'page\n')
    await docker('network', 'disconnect', 'bb', 'two')
    assert.equal(await route(), '10.97.1.1')
    assert.equal(await fetch(), 'page\n')
    const joined = await daemon.api('POST', '/networks/bb/connect', {
      Container: 'two',
      EndpointConfig: { GwPriority: 5 },
    })
    assert.equal(joined.status, 200, joined.text)
    assert.equal(await route(), '10.97.2.1')
    await daemon.restart()
    assert.equal(await route(), '10.97.2.1')
    assert.equal(await fetch(), 'page\n')
    assert.equal(await docker('port', 'two'), '80/tcp -> 0.0.0.0:8098')
    await docker('rm', '-f', 'two')
    await docker('network', 'rm', 'aa', 'bb')
  })

  test('networks and their containers are there after the daemon was killed', async () => {
    await docker('network', 'create', '--label', 'k=v', 'kept')
    await sleeper('kept-x', '--network', 'kept')
    await sleeper('kept-y', '--network', 'kept')
    const y = await addressOf('kept-y', 'kept')
    await daemon.kill()
    await daemon.start()
    assert.equal(await docker('network', 'ls', '-f', 'label=k=v', '--format', '{{.Name}}'), 'kept')
    assert.equal(await pings('kept-x', y), true)
    await sleeper('kept-z', '--network', 'kept')
    assert.equal(await pings('kept-z', y), true)
    await docker('rm', '-f', 'kept-x', 'kept-y', 'kept-z')
    await docker('network', 'rm', 'kept')
  })

  test('ls by every filter, prune, and events', async () => {
    const since = String(Math.floor(Date.now() / 1000))
    await docker('network', 'create', '--label', 'group=one', 'one')
    await docker('network', 'create', '--label', 'group=two', 'two')
    await sleeper('user', '--network', 'two')
    const names = async (...filters: string[]): Promise<string[]> =>
      (await docker('network', 'ls', '--format', '{{.Name}}', ...filters.flatMap(f => ['-f', f])))
        .split('\n')
        .filter(Boolean)
        .sort()
    assert.deepEqual(await names('type=custom'), ['one', 'two'])
    assert.deepEqual(await names('type=builtin'), ['bridge', 'host', 'none'])
    assert.deepEqual(await names('dangling=true'), ['one'])
    assert.deepEqual(await names('driver=bridge', 'label=group=two'), ['two'])
    await docker('stop', '-t', '0', 'user')
    assert.match(await docker('network', 'prune', '-f'), /one/)
    assert.deepEqual(await names('type=custom'), ['two'])
    await docker('rm', 'user')
    assert.match(
      await docker('network', 'prune', '-f', '--filter', 'label!=group=two'),
      /^(Deleted Networks:)?\s*$/,
    )
    assert.match(await docker('network', 'prune', '-f'), /two/)
    const until = String(Math.ceil(Date.now() / 1000))
    const seen = await docker(
      'events',
      '--since',
      since,
      '--until',
      until,
      '-f',
      'type=network',
      '--format',
      '{{.Action}} {{.Actor.Attributes.name}}',
    )
    assert.deepEqual(
      seen.split('\n').filter(line => / (one|two)$/.test(line)),
      ['create one', 'create two', 'connect two', 'disconnect two', 'destroy one', 'destroy two'],
    )
  })
})

describe('routes of the host', () => {
  const host = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await daemon.onHost(['ip', ...words])
    assert.equal(code, 0, stderr)
  }
  const warnings = async (): Promise<string[]> =>
    (await daemon.json<{ Warnings: string[] }>('GET', '/info')).Warnings.filter(text => /overlaps/.test(text))

  test('a network whose subnet nobody chose keeps clear of them', async () => {
    await host('link', 'add', 'vpn0', 'type', 'veth', 'peer', 'name', 'vpn1')
    await host('link', 'set', 'vpn0', 'up')
    await host('route', 'add', '172.16.0.0/12', 'dev', 'vpn0')
    await docker('network', 'create', 'clear')
    assert.match(
      await docker('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'clear'),
      /^192\.168\./,
    )
    await docker('network', 'rm', 'clear')
    await host('route', 'del', '172.16.0.0/12', 'dev', 'vpn0')
  })

  test('one that was made on such a route is told, and so is a route that came later', async () => {
    await host('route', 'add', '10.66.0.0/16', 'dev', 'vpn0')
    const { Warning } = await daemon.json<{ Warning: string }>('POST', '/networks/create', {
      ...{ Name: 'on', IPAM: { Config: [{ Subnet: '10.66.8.0/24' }] } },
    })
    assert.match(
      Warning,
      /network on \(10\.66\.8\.0\/24\) overlaps with the host's route to 10\.66\.0\.0\/16 by vpn0/,
    )
    assert.equal((await warnings()).length, 1)
    await docker('network', 'rm', 'on')
    assert.deepEqual(await warnings(), [])
    await docker('network', 'create', '--subnet', '10.67.0.0/24', 'before')
    await host('route', 'add', '10.67.0.0/16', 'dev', 'vpn0')
    assert.match((await warnings())[0] ?? '', /network before .* by vpn0/)
    await until('the daemon said so', () => /network before .*overlaps/.test(daemon.log))
    await host('link', 'del', 'vpn0')
    assert.deepEqual(await warnings(), [])
    await docker('network', 'rm', 'before')
  })
})
