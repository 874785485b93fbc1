import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TestDaemon } from './harness/daemon.ts'
import { withFiles } from './harness/ownFiles.ts'
import { must } from './harness/shell.ts'

/** A daemon with these flags, in a host that was changed by `ip` commands before. */
const withDaemon = async (
  options: { flags: string[]; links?: string[][]; within?: string[] },
  use: (daemon: TestDaemon) => Promise<void>,
): Promise<void> => {
  const daemon = new TestDaemon({
    flags: options.flags,
    ...(options.within ? { within: options.within } : {}),
  })
  await daemon.prepare()
  for (const command of options.links ?? []) await must(['ip', '-n', daemon.name, ...command])
  await daemon.start()
  try {
    await daemon.loadBusybox()
    await use(daemon)
  } finally {
    await daemon.close()
  }
}

const bridge = (name: string, address: string): string[][] => [
  ['link', 'add', name, 'type', 'bridge'],
  ['addr', 'add', address, 'dev', name],
  ['link', 'set', name, 'up'],
]

const page = 'mkdir /w; echo page > /w/index.html; httpd -f -h /w'
const ipOf = (daemon: TestDaemon): Promise<string> =>
  daemon.mustDocker([
    ...['run', '--rm', 'busybox', 'sh', '-c'],
    "ip -o -4 addr show eth0 | awk '{print $4}'; cat /sys/class/net/eth0/mtu",
  ])

describe('options of the default network', () => {
  test('a bridge of the user’s own is used as it is, and left alone; --ip is where ports are published', () =>
    withDaemon(
      { flags: ['-b', 'own0', '--ip', '127.0.0.1'], links: bridge('own0', '10.55.1.1/24') },
      async daemon => {
        assert.match(await ipOf(daemon), /^10\.55\.1\.\d+\/24\n1500$/)
        await daemon.mustDocker([
          ...['run', '-d', '--name', 'web', '-p', '8080:80', 'busybox', 'sh', '-c', page],
        ])
        assert.equal(await daemon.mustDocker(['port', 'web']), '80/tcp -> 127.0.0.1:8080')
        const fetch = (address: string): Promise<{ code: number; stdout: string }> =>
          daemon.onHost([
            ...['curl', '-s', '-m', '20', '--retry', '20', '--retry-delay', '1', '--retry-connrefused'],
            `http://${address}:8080`,
          ])
        assert.equal((await fetch('127.0.0.1')).stdout, 'page\n')
        assert.notEqual((await daemon.onHost(['curl', '-s', '-m', '20', 'http://10.55.1.1:8080'])).code, 0)
        await daemon.mustDocker(['rm', '-f', 'web'])
        await daemon.restart()
        const link = (await daemon.onHost(['ip', '-o', '-4', 'addr', 'show', 'own0'])).stdout
        assert.match(link, /10\.55\.1\.1\/24/)
      },
    ))

  test('without a bridge containers have the loopback alone, and there is no network bridge', () =>
    withDaemon({ flags: ['--bridge', 'none'] }, async daemon => {
      const links = await daemon.mustDocker(['run', '--rm', '-p', '80:80', 'busybox', 'ls', '/sys/class/net'])
      assert.equal(links, 'lo')
      assert.equal(await daemon.mustDocker(['network', 'ls', '--format', '{{.Name}}']), 'host\nnone')
      const missing = await daemon.docker(['network', 'inspect', 'bridge'])
      assert.match(missing.stderr, /network bridge not found/)
      await daemon.mustDocker(['create', '--name', 'later', 'busybox', 'ls', '/sys/class/net'])
      assert.equal(
        await daemon.mustDocker([
          'inspect',
          '-f',
          '{{json .NetworkSettings.Networks.bridge.NetworkID}}',
          'later',
        ]),
        '""',
      )
    }))

  test('pools give the first subnet that no route of the host overlaps', () =>
    withDaemon(
      {
        flags: ['--default-address-pool', 'base=10.66.0.0/16,size=24', '--mtu', '1300'],
        links: bridge('d0', '10.66.0.1/24'),
      },
      async daemon => {
        assert.match(await ipOf(daemon), /^10\.66\.1\.\d+\/24\n1300$/)
        assert.equal(
          await daemon.mustDocker(['info', '-f', '{{json .DefaultAddressPools}}']),
          '[{"Base":"10.66.0.0/16","Size":24}]',
        )
      },
    ))

  test('on a host whose resolver is a stub on loopback, containers get the servers behind it, or Docker’s two', async () => {
    const stub = 'nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n'
    const behind = 'nameserver 10.1.2.3\nnameserver 10.1.2.4\nsearch corp.example\n'
    const cat = ['run', '--rm', 'busybox', 'cat', '/etc/resolv.conf']
    await withDaemon(
      {
        flags: [],
        within: withFiles({ '/etc/resolv.conf': stub, '/run/systemd/resolve/resolv.conf': behind }),
      },
      async daemon => {
        const text = await daemon.mustDocker(cat)
        assert.match(text, /^nameserver 10\.1\.2\.3\nnameserver 10\.1\.2\.4\nsearch corp\.example$/m)
        assert.equal(
          await daemon.mustDocker(['run', '--rm', '--network', 'host', ...cat.slice(2)]),
          stub.trim(),
        )
      },
    )
    await withDaemon({ flags: [], within: withFiles({ '/etc/resolv.conf': stub }) }, async daemon => {
      const text = await daemon.mustDocker(cat)
      assert.match(
        text,
        /nameserver 8\.8\.8\.8\nnameserver 8\.8\.4\.4\nsearch corp\.example\noptions edns0 trust-ad/,
      )
    })
  })

  test('without a firewall there are no rules, and a published port is refused instead of dead', () =>
    withDaemon(
      {
        flags: [
          ...['--iptables=false', '--dns', '10.1.1.1', '--dns-search', 'a.example', '--dns-opt', 'ndots:3'],
          ...['--host-gateway-ip', '10.2.2.2'],
        ],
      },
      async daemon => {
        const files = ['cat', '/etc/resolv.conf', '/etc/hosts']
        const text = await daemon.mustDocker([
          ...['run', '--rm', '--add-host', 'gw:host-gateway', 'busybox', ...files],
        ])
        assert.match(text, /nameserver 10\.1\.1\.1\nsearch a\.example\noptions ndots:3\n/)
        assert.match(text, /10\.2\.2\.2\tgw/)
        const refused = await daemon.docker(['run', '--rm', '-p', '80:80', 'busybox', 'true'])
        assert.equal(refused.code, 125)
        assert.match(refused.stderr, /ports cannot be published: .*--iptables=false/)
        assert.equal((await daemon.onHost(['nft', 'list', 'ruleset'])).stdout, '')
      },
    ))

  test('another way out, no masquerading, and options that networks get unless they name them', () =>
    withDaemon(
      {
        flags: [
          ...['--bip', '10.55.1.1/29', '--default-gateway', '10.55.1.2', '--ip-masq=false'],
          ...['--default-network-opt', 'bridge=com.docker.network.driver.mtu=1400'],
        ],
      },
      async daemon => {
        await daemon.mustDocker(['run', '-d', '--name', 'one', 'busybox', 'sleep', '1000'])
        assert.match(
          await daemon.mustDocker(['exec', 'one', 'ip', 'route']),
          /default via 10\.55\.1\.2 dev eth0/,
        )
        const format = '{{with .NetworkSettings.Networks.bridge}}{{.Gateway}} {{.IPAddress}}{{end}}'
        assert.equal(await daemon.mustDocker(['inspect', '-f', format, 'one']), '10.55.1.2 10.55.1.3')
        const shown = JSON.parse(await daemon.mustDocker(['network', 'inspect', 'bridge']))[0]
        assert.equal(shown.Options['com.docker.network.bridge.enable_ip_masquerade'], 'false')
        assert.deepEqual(shown.IPAM.Config[0].AuxiliaryAddresses, { DefaultGatewayIPv4: '10.55.1.2' })
        const table = (await daemon.onHost(['nft', 'list', 'ruleset'])).stdout
        assert.match(table, /set outgoing \{\s*type ifname\s*\}/)
        const mtu = (network: string): Promise<string> =>
          daemon.mustDocker([
            'run',
            '--rm',
            '--network',
            network,
            'busybox',
            'cat',
            '/sys/class/net/eth0/mtu',
          ])
        await daemon.mustDocker(['network', 'create', 'plain'])
        await daemon.mustDocker(['network', 'create', '-o', 'com.docker.network.driver.mtu=1300', 'own'])
        assert.deepEqual(
          [await mtu('plain'), await mtu('own'), await mtu('bridge')],
          ['1400', '1300', '1500'],
        )
        await daemon.mustDocker(['network', 'rm', 'plain', 'own'])
      },
    ))

  test('with --icc=false containers of the default bridge reach what is published or linked alone; without it all', () =>
    withDaemon({ flags: ['--icc=false'] }, async daemon => {
      await daemon.mustDocker([
        ...['run', '-d', '--name', 'web', '--expose', '80', '-p', '8080:80', 'busybox', 'sh', '-c', page],
      ])
      const addressOf = (): Promise<string> =>
        daemon.mustDocker([...['inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', 'web']])
      const address = await addressOf()
      const ask = async (place: string, ...options: string[]): Promise<string> => {
        const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${place} | tail -n 1`
        return (await daemon.docker(['run', '--rm', ...options, 'busybox', 'sh', '-c', script])).stdout.trim()
      }
      const gateway = await daemon.mustDocker([
        ...['network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'bridge'],
      ])
      assert.equal(await ask(`${address} 80`), '')
      assert.equal(await ask(`${gateway} 8080`), 'page')
      assert.equal(await ask(`${address} 80`, '--link', 'web'), 'page')
      assert.equal(await ask(`${address} 80`), '')
      await daemon.restart({ flags: ['--icc=true'] })
      await daemon.mustDocker(['restart', '-t', '0', 'web'])
      assert.equal(await ask(`${await addressOf()} 80`), 'page')
    }))
})
