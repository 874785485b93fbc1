import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { type DistributionOptions, startDistribution } from '../src/registry-client/testing/distribution.ts'
import { containerTool } from './harness/containerTools.ts'
import { startDaemon, TestDaemon } from './harness/daemon.ts'
import { withFiles } from './harness/ownFiles.ts'
import { startProxyServer } from './harness/proxyServer.ts'
import { must } from './harness/shell.ts'
import { startTokenServer } from './harness/tokenServer.ts'

/** Registries of others, as they are guarded in the world. */

/** Not loopback, where more is allowed. */
const outside = '10.99.0.1'
const anna = { name: 'anna', password: 'not-for-any-log' }

const addOutside = (daemon: TestDaemon): Promise<string> =>
  must(['ip', '-n', daemon.name, 'addr', 'add', `${outside}/32`, 'dev', 'lo'])

const idOf = (daemon: TestDaemon, name: string): Promise<string> =>
  daemon.mustDocker(['image', 'inspect', '-f', '{{.Id}}', name])

/** Pushed, removed and pulled, an image is the same, and runs. */
const thereAndBack = async (daemon: TestDaemon, name: string): Promise<void> => {
  await daemon.mustDocker(['tag', 'busybox', name])
  await daemon.mustDocker(['push', '-q', name])
  const before = await idOf(daemon, name)
  await daemon.mustDocker(['rmi', name])
  await daemon.mustDocker(['pull', '-q', name])
  assert.equal(await idOf(daemon, name), before)
  assert.equal(await daemon.mustDocker(['run', '--rm', name, 'echo', 'runs']), 'runs')
}

const refused = async (daemon: TestDaemon, args: string[], why: RegExp): Promise<void> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0, args.join(' '))
  assert.match(stderr, why)
}

const login = (daemon: TestDaemon, address: string, password = anna.password) =>
  daemon.docker(['login', '-u', anna.name, '--password-stdin', address], { input: password })

describe('registries with TLS', () => {
  const certificates = makeCertificates(`IP:${outside}`)
  const { authority, client, server } = certificates
  const mirror = '127.0.0.1:5004'
  const [passwords, unknown, clients] = [`${outside}:5000`, `${outside}:5001`, `${outside}:5002`]
  const daemon = new TestDaemon({
    within: withFiles({
      [`/etc/docker/certs.d/${passwords}/ca.crt`]: authority,
      [`/etc/docker/certs.d/${clients}/ca.crt`]: authority,
      [`/etc/docker/certs.d/${clients}/client.cert`]: client.cert,
      [`/etc/docker/certs.d/${clients}/client.key`]: client.key,
      '/etc/docker/certs.d/s.example:5003/ca.crt': authority,
      '/etc/containerd/certs.d/mirrored.example/hosts.toml': [
        `server = "http://127.0.0.1:9"`,
        `[host."http://${mirror}"]`,
        `capabilities = ["pull", "resolve"]`,
      ].join('\n'),
    }),
  })
  const registries = new AsyncDisposableStack()
  const serve = async (address: string, options: DistributionOptions) =>
    registries.use(await startDistribution({ namespace: daemon.namespace, address, ...options }))

  before(async () => {
    await daemon.prepare()
    await addOutside(daemon)
    await serve(passwords, { tls: server, user: anna })
    await serve(unknown, { tls: server })
    await serve(clients, { tls: { ...server, clientAuthority: authority } })
    await serve(mirror, {})
    const proxy = registries.use(await startProxyServer(daemon.namespace, unknown))
    await daemon.start({
      flags: ['--https-proxy', proxy.url, '--no-proxy', '10.99.0.0/24', '--max-download-attempts', '2'],
    })
    await daemon.loadBusybox()
  })
  after(async () => {
    await registries.disposeAsync()
    await daemon.close()
  })

  test('one with passwords takes those of a login, until the logout', async () => {
    const name = `${passwords}/team/box:1`
    await daemon.mustDocker(['tag', 'busybox', name])
    await refused(daemon, ['push', '-q', name], /no basic auth credentials/)
    const wrong = await login(daemon, passwords, 'wrong')
    assert.equal(wrong.code, 1)
    assert.match(
      wrong.stderr,
      /login attempt to https:\/\/10\.99\.0\.1:5000\/v2\/ failed with status: 401 Unauthorized/,
    )
    assert.match((await login(daemon, passwords)).stdout, /Login Succeeded/)
    await thereAndBack(daemon, name)
    await daemon.mustDocker(['logout', passwords])
    await refused(daemon, ['pull', name], /no basic auth credentials/)
    assert.ok(!daemon.log.includes(anna.password))
  })

  test('one whose authority nobody knows is not trusted, and the words say which file helps', async () => {
    await refused(
      daemon,
      ['pull', `${unknown}/team/box`],
      /certificate signed by unknown authority|unable to verify|self-signed/i,
    )
    await refused(daemon, ['pull', `${unknown}/team/box`], /certs\.d\/10\.99\.0\.1:5001/)
  })

  test('one that wants a certificate of its clients gets it', () =>
    thereAndBack(daemon, `${clients}/team/box:1`))

  test('one that has a mirror is there while the mirror is, and is pushed to itself alone', async () => {
    await thereAndBack(daemon, `${mirror}/team/box:1`)
    const name = 'mirrored.example/team/box:1'
    await daemon.mustDocker(['pull', '-q', name])
    assert.equal(await idOf(daemon, name), await idOf(daemon, 'busybox'))
    await refused(daemon, ['push', name], /127\.0\.0\.1:9/)
  })

  test('one behind a proxy is reached through it, end to end', () =>
    thereAndBack(daemon, 's.example:5003/box:1'))
})

describe('registries without TLS', () => {
  let daemon: TestDaemon
  const plain = `${outside}:5000`
  const registries = new AsyncDisposableStack()
  before(async () => {
    daemon = new TestDaemon({})
    await daemon.prepare()
    await addOutside(daemon)
    registries.use(await startDistribution({ namespace: daemon.namespace, address: plain }))
    await daemon.start()
    await daemon.loadBusybox()
  })
  after(async () => {
    await registries.disposeAsync()
    await daemon.close()
  })

  test('one that is not loopback has to be allowed, by its address or by a range', async () => {
    await refused(daemon, ['pull', `${plain}/box`], /server gave HTTP response to HTTPS client/)
    await refused(daemon, ['pull', `${plain}/box`], /insecure-registr/)
    await daemon.restart({ flags: ['--insecure-registry', '10.99.0.0/24'] })
    await thereAndBack(daemon, `${plain}/team/box:1`)
    await daemon.restart({ flags: ['--insecure-registry', plain] })
    await thereAndBack(daemon, `${plain}/team/box:2`)
  })

  test('one behind a proxy is reached by a name that nobody here knows', async () => {
    const name = 'registry.example:5000'
    await using proxy = await startProxyServer(daemon.namespace, plain)
    await daemon.restart({ flags: ['--insecure-registry', name, '--http-proxy', proxy.url] })
    await thereAndBack(daemon, `${name}/behind/box:1`)
  })
})

describe('registries of other programs’ images', () => {
  let daemon: TestDaemon
  let folder: string
  const address = '127.0.0.1:5000'
  const registries = new AsyncDisposableStack()
  /** In the daemon's network namespace: what clients ask registries themselves. */
  const near = (...args: string[]): Promise<string> =>
    must(['nsenter', `--net=${daemon.namespace}`, daemon.client, ...args], {
      env: { ...daemon.dockerEnv, DOCKER_CLI_EXPERIMENTAL: 'enabled' },
    })
  before(async () => {
    daemon = await startDaemon()
    await daemon.loadBusybox()
    folder = mkdtempSync(path.join(tmpdir(), 'berth-registries-'))
    registries.use(await startDistribution({ namespace: daemon.namespace, address }))
  })
  after(async () => {
    await registries.disposeAsync()
    await daemon.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const pushed = async (name: string): Promise<string> => {
    await daemon.mustDocker(['tag', 'busybox', name])
    const said = await daemon.mustDocker(['push', name])
    return /digest: (sha256:[0-9a-f]{64})/.exec(said)?.[1] ?? ''
  }

  test('skopeo and podman read what is pushed', async () => {
    const digest = await pushed(`${address}/team/box:1`)
    const source = `docker://${address}/team/box:1`
    const insecure = '--tls-verify=false'
    const tool = (program: string, ...args: string[]) =>
      containerTool(folder, program, args, daemon.namespace)
    const { Digest, Layers } = JSON.parse(await tool('skopeo', 'inspect', insecure, source))
    assert.equal(Digest, digest)
    assert.equal(Layers.length, 1)
    await tool('skopeo', 'copy', '-q', '--src-tls-verify=false', source, 'oci:/work/layout:1')
    await tool('podman', 'pull', '-q', insecure, `${address}/team/box:1`)
    const ids = await tool('podman', 'images', '--no-trunc', '-q')
    assert.ok(ids.includes(await idOf(daemon, 'busybox')), ids)
    // What skopeo brings there is pulled here.
    await tool(
      'skopeo',
      'copy',
      '-q',
      '--dest-tls-verify=false',
      'oci:/work/layout:1',
      `docker://${address}/team/back:1`,
    )
    assert.equal(
      await daemon.mustDocker(['run', '--rm', '-q', `${address}/team/back:1`, 'echo', 'back']),
      'back',
    )
  })

  test('docker manifest and buildx imagetools make indexes of what is pushed, which are pulled', async () => {
    const digest = await pushed(`${address}/multi/amd:1`)
    const list = `${address}/multi/list:1`
    await near('manifest', 'create', '--insecure', list, `${address}/multi/amd:1`)
    await near('manifest', 'annotate', '--os-features', 'x', list, `${address}/multi/amd:1`)
    await near('manifest', 'push', '--insecure', list)
    assert.match(await near('manifest', 'inspect', '--insecure', list), new RegExp(digest))
    await daemon.mustDocker(['pull', '-q', list])
    assert.equal(await idOf(daemon, list), await idOf(daemon, 'busybox'))
    const index = `${address}/multi/index:1`
    await near('buildx', 'imagetools', 'create', '-t', index, `${address}/multi/amd:1`)
    assert.match(await near('buildx', 'imagetools', 'inspect', index), new RegExp(digest))
    await daemon.mustDocker(['pull', '-q', index])
    assert.equal(await idOf(daemon, index), await idOf(daemon, 'busybox'))
  })
})

describe('a registry with a token server', () => {
  let daemon: TestDaemon
  let folder: string
  const address = '127.0.0.1:5000'
  const servers = new AsyncDisposableStack()
  let asked: string[]
  before(async () => {
    daemon = await startDaemon()
    await daemon.loadBusybox()
    folder = mkdtempSync(path.join(tmpdir(), 'berth-tokens-'))
    const users = { [anna.name]: anna.password }
    const tokens = servers.use(await startTokenServer(daemon.namespace, { folder, users }))
    servers.use(await startDistribution({ namespace: daemon.namespace, address, token: tokens.trust }))
    asked = tokens.asked
  })
  after(async () => {
    await servers.disposeAsync()
    await daemon.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('whoever has logged in pushes and pulls, others pull what is public', async () => {
    const [mine, everybodys] = [`${address}/team/box:1`, `${address}/public/box:1`]
    await daemon.mustDocker(['tag', 'busybox', mine])
    await refused(daemon, ['push', '-q', mine], /denied/)
    assert.equal((await login(daemon, address, 'wrong')).code, 1)
    assert.match((await login(daemon, address)).stdout, /Login Succeeded/)
    await thereAndBack(daemon, mine)
    await thereAndBack(daemon, everybodys)
    assert.ok(asked.includes('repository:team/box:pull,push'), asked.join())
    await daemon.mustDocker(['logout', address])
    await daemon.mustDocker(['pull', '-q', everybodys])
    await refused(daemon, ['pull', mine], /pull access denied for .*team\/box/)
    assert.ok(!daemon.log.includes(anna.password))
  })

  test('a token serves all requests that it is good for', async () => {
    assert.match((await login(daemon, address)).stdout, /Login Succeeded/)
    const name = `${address}/team/once:1`
    await daemon.mustDocker(['tag', 'busybox', name])
    asked.length = 0
    await daemon.mustDocker(['push', '-q', name])
    // The second one is for the layer, which the other repository has.
    assert.deepEqual(asked, [
      'repository:team/once:pull,push',
      'repository:team/once:pull,push repository:team/box:pull',
    ])
  })
})
