import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon({ env: { DOCKER_KEEP_DEPRECATED_LEGACY_LINKS_ENV_VARS: '1' } })
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...words: string[]): Promise<string> => daemon.mustDocker(words)
const sleeper = (name: string, ...options: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...options, 'busybox', 'sleep', '1000')
const hosts = (name: string): Promise<string> => docker('exec', name, 'cat', '/etc/hosts')
const address = (name: string): Promise<string> =>
  docker('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', name)

const refused = async (words: string[], message: RegExp): Promise<void> => {
  const { code, stderr } = await daemon.docker(words)
  assert.notEqual(code, 0, words.join(' '))
  assert.match(stderr, message)
}

describe('links on the default bridge', () => {
  test('the linked container is in /etc/hosts by alias, host name and name, and answers there', async () => {
    await sleeper('db', '--hostname', 'store', '--expose', '5432', '-e', 'SECRET=one')
    const { stderr } = await daemon.docker([
      ...['run', '-d', '--name', 'app', '--link', 'db:database', 'busybox', 'sleep', '1000'],
    ])
    assert.match(stderr, /Links on the default bridge network are deprecated/)
    assert.match(await hosts('app'), new RegExp(`^${await address('db')}\tdatabase store db$`, 'm'))
    await docker('exec', 'app', 'ping', '-c', '1', 'database')
    assert.equal(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'app'), '[/db:/app/database]')
    assert.equal(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'db'), '[]')
  })

  test('the linked container is found and listed by the name that the link gives it', async () => {
    assert.equal(await docker('inspect', '-f', '{{.Name}}', 'app/database'), '/db')
    assert.equal(await docker('exec', 'app/database', 'hostname'), 'store')
    const listed = await docker(
      'ps',
      '--no-trunc',
      '--filter',
      'name=^/app/database$',
      '--format',
      '{{.Names}}',
    )
    assert.deepEqual(listed.split(',').sort(), ['app/database', 'db'])
  })

  test('variables of a link are there for the daemon that was told to keep them, in execs too', async () => {
    const env = await docker('exec', 'app', 'env')
    const at = await address('db')
    for (const line of [
      ...[`DATABASE_PORT=tcp://${at}:5432`, `DATABASE_PORT_5432_TCP=tcp://${at}:5432`],
      ...[`DATABASE_PORT_5432_TCP_ADDR=${at}`, 'DATABASE_PORT_5432_TCP_PORT=5432'],
      ...['DATABASE_PORT_5432_TCP_PROTO=tcp', 'DATABASE_NAME=/app/database', 'DATABASE_ENV_SECRET=one'],
    ])
      assert.ok(env.split('\n').includes(line), `${line} in\n${env}`)
    assert.doesNotMatch(env, /DATABASE_ENV_PATH/)
  })

  test('who links learns the new address of a container that was started anew', async () => {
    const before = await address('db')
    await docker('stop', '-t', '0', 'db')
    await sleeper('squatter')
    await until('the address was taken', async () => (await address('squatter')) !== '')
    await docker('start', 'db')
    const now = await address('db')
    if (before === (await address('squatter'))) assert.notEqual(now, before)
    assert.match(await hosts('app'), new RegExp(`^${now}\tdatabase store db$`, 'm'))
    await docker('exec', 'app', 'ping', '-c', '1', 'database')
    await docker('rm', '-f', 'squatter')
  })

  test('a rename of either is followed', async () => {
    await docker('rename', 'app', 'front')
    assert.equal(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'front'), '[/db:/front/database]')
    assert.equal(await docker('inspect', '-f', '{{.Name}}', 'front/database'), '/db')
    await docker('rename', 'front', 'app')
  })

  test('a container that links to a stopped one does not start, and says which', async () => {
    await docker('stop', '-t', '0', 'app', 'db')
    await refused(['start', 'app'], /Cannot link to a non running container: \/db AS \/app\/database/)
    await docker('start', 'db')
    await docker('start', 'app')
  })

  test('a link is removed alone, and goes with the container it leads to', async () => {
    await refused(['rm', '--link', 'app'], /cannot remove the default link name of the container/)
    await refused(['rm', '--link', 'app/nothing'], /No such container: app\/nothing/)
    await docker('rm', '--link', 'app/database')
    assert.equal(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'app'), '[]')
    await refused(['inspect', '--type', 'container', 'app/database'], /No such container/)
    await sleeper('two', '--link', 'db')
    await docker('rm', '-f', 'db')
    assert.equal(await docker('inspect', '-f', '{{.HostConfig.Links}}', 'two'), '[]')
    await docker('restart', '-t', '0', 'two')
    await docker('rm', '-f', 'two', 'app')
  })

  test('what cannot be linked is refused', async () => {
    const create = ['create', '--name', 'never']
    await refused([...create, '--link', 'nobody:x', 'busybox'], /could not get container for nobody: No such/)
    await sleeper('onhost', '--network', 'host')
    await refused(
      [...create, '--link', 'onhost:x', 'busybox'],
      /host type networking can't be used with links/,
    )
    for (const [mode, kind] of [
      ['host', 'host type networking'],
      ['container:onhost', 'container type network'],
    ]) {
      const HostConfig = { NetworkMode: mode, Links: ['onhost:x'] }
      const { status, text } = await daemon.api('POST', '/containers/create', {
        Image: 'busybox',
        HostConfig,
      })
      assert.equal(status, 400)
      assert.match(text, new RegExp(`conflicting options: ${kind} can't be used with links`))
    }
    await docker('network', 'create', 'elsewhere')
    await sleeper('there', '--network', 'elsewhere')
    await docker('create', '--name', 'tothere', '--link', 'there:x', 'busybox')
    await refused(
      ['start', 'tothere'],
      /Cannot link to \/there, as it does not belong to the default network/,
    )
    await docker('rm', '-f', 'onhost', 'there', 'tothere')
    await docker('network', 'rm', 'elsewhere')
  })

  test('at a start of the daemon the linked container comes before the one that links', async () => {
    await sleeper('base', '--restart', 'always')
    await sleeper('upper', '--restart', 'always', '--link', 'base')
    await docker(
      'run',
      '-d',
      '--name',
      'sharing',
      '--restart',
      'always',
      '--network',
      'container:base',
      'busybox',
      'sleep',
      '1000',
    )
    await daemon.loseKernelObjects()
    await daemon.start({ env: { BERTH_TEST_BOOT_ID: 'another' } })
    const states = ['base', 'upper', 'sharing'].map(
      name => async () => (await docker('inspect', '-f', '{{.State.Status}}', name)) === 'running',
    )
    for (const running of states) await until('it ran again', running)
    assert.match(await hosts('upper'), new RegExp(`^${await address('base')}\tbase `, 'm'))
    await docker('rm', '-f', 'upper', 'sharing', 'base')
  })
})

test('a link on a user-defined network is a name for the linking container alone', async () => {
  await docker('network', 'create', 'own')
  await sleeper('target', '--network', 'own')
  await sleeper('linking', '--network', 'own', '--link', 'target:other')
  await docker('exec', 'linking', 'ping', '-c', '1', 'other')
  const { code } = await daemon.docker(['exec', 'target', 'ping', '-c', '1', 'other'])
  assert.notEqual(code, 0)
  assert.match(
    await docker('inspect', '-f', '{{.NetworkSettings.Networks.own.Links}}', 'linking'),
    /target:other/,
  )
  const HostConfig = { NetworkMode: 'own', Links: ['target:older'] }
  await daemon.json('POST', '/containers/create?name=formerly', {
    ...{ Image: 'busybox', Cmd: ['sleep', '1000'], HostConfig },
  })
  await docker('start', 'formerly')
  await docker('exec', 'formerly', 'ping', '-c', '1', 'older')
  await docker('rm', '-f', 'linking', 'formerly', 'target')
  await docker('network', 'rm', 'own')
})

test('without traffic between containers a link opens the exposed ports of the one it leads to, and no more', async () => {
  const closed = await startDaemon({ flags: ['--icc=false'] })
  try {
    await closed.loadBusybox()
    const page = (name: string): string[] => [
      ...['run', '-d', '--name', name, '--hostname', name, '--expose', '80', 'busybox', 'sh', '-c'],
      'echo $HOSTNAME >/tmp/index.html; httpd -p 81 -h /tmp; exec httpd -f -h /tmp',
    ]
    for (const name of ['linked', 'other']) await closed.mustDocker(page(name))
    await closed.mustDocker([
      ...['run', '-d', '--name', 'asking', '--link', 'linked', 'busybox', 'sleep', '1000'],
    ])
    const at = async (name: string): Promise<string> =>
      closed.mustDocker(['inspect', '-f', '{{.NetworkSettings.IPAddress}}', name])
    const asked = async (host: string, port = 80): Promise<string> =>
      (
        await closed.docker(['exec', 'asking', 'timeout', '2', 'wget', '-qO-', `http://${host}:${port}/`])
      ).stdout.trim()
    await until('the linked one answered', async () => (await asked('linked')) === 'linked')
    assert.equal(await asked(await at('other')), '')
    assert.equal(await asked('linked', 81), '')

    // Another container at the address that the link led to is not reached.
    const before = await at('linked')
    await closed.mustDocker(['rm', '-f', 'linked'])
    assert.equal(await asked(before), '')
    await closed.mustDocker(page('linked'))
    assert.equal(await asked(await at('linked')), '', 'a link ends with the container that it leads to')

    await closed.mustDocker(['run', '-d', '--name', 'again', '--link', 'other', 'busybox', 'sleep', '1000'])
    await closed.restart()
    await closed.mustDocker(['restart', '-t', '0', 'other'])
    await until('it answered after both were started anew', async () => {
      const { stdout } = await closed.docker([
        ...['exec', 'again', 'timeout', '2', 'wget', '-qO-', 'http://other/'],
      ])
      return stdout.trim() === 'other'
    })
  } finally {
    await closed.close()
  }
})
