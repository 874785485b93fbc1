import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { NameServer } from './harness/nameServer.ts'

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  for (const name of ['front', 'back']) await daemon.mustDocker(['network', 'create', name])
  await sleeper('asker', '--network', 'front')
})
after(() => daemon.close())

const docker = (...words: string[]): Promise<string> => daemon.mustDocker(words)
const sleeper = (name: string, ...options: string[]): Promise<string> =>
  docker('run', '-d', '--name', name, ...options, 'busybox', 'sleep', '1000')
const addressOf = (name: string, network: string): Promise<string> =>
  docker('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name)

/** Addresses that a container's resolver finds, in order; none where there is no such name. */
const ask = async (from: string, name: string): Promise<string[]> => {
  const { stdout } = await daemon.docker(['exec', from, 'nslookup', '-type=a', name])
  const [, answer = ''] = stdout.split('\n\n')
  return [...answer.matchAll(/Address: (\S+)/g)].map(match => match[1] ?? '')
}

describe('names at 127.0.0.11', () => {
  test('a name, an alias, a short id and a host name lead to the container, on its networks alone', async () => {
    const id = await sleeper(
      'web',
      '--network',
      'front',
      '--network-alias',
      'www',
      '--hostname',
      'host-of-web',
    )
    const address = await addressOf('web', 'front')
    for (const name of ['web', 'WEB', 'web.front', 'www', id.slice(0, 12), 'host-of-web'])
      assert.deepEqual(await ask('asker', name), [address], name)
    assert.match(await docker('exec', 'asker', 'nslookup', address), /name = web\.front/)
    await sleeper('stranger', '--network', 'back')
    assert.deepEqual(await ask('stranger', 'web'), [])
    assert.deepEqual(await ask('asker', 'stranger'), [])
    assert.match(
      await docker('exec', 'asker', 'cat', '/etc/resolv.conf'),
      /^nameserver 127\.0\.0\.11$[\s\S]*^options .*ndots:0$/m,
    )
    await docker('rm', '-f', 'web', 'stranger')
    assert.deepEqual(await ask('asker', 'web'), [])
  })

  test('an alias of several is answered with all of them, in turn', async () => {
    await Promise.all(
      ['r1', 'r2', 'r3'].map(name => sleeper(name, '--network', 'front', '--network-alias', 'many')),
    )
    const answers = await Promise.all(Array.from({ length: 9 }, () => ask('asker', 'many')))
    for (const answer of answers) assert.equal(new Set(answer).size, 3)
    assert.equal(new Set(answers.map(([first]) => first)).size, 3)
    await docker('rm', '-f', 'r1', 'r2', 'r3')
  })

  test('rename, connect and disconnect change what is found', async () => {
    await sleeper('one', '--network', 'back')
    await docker('network', 'connect', '--alias', 'uno', 'front', 'one')
    const address = await addressOf('one', 'front')
    assert.deepEqual(await ask('asker', 'uno'), [address])
    await docker('rename', 'one', 'eins')
    assert.deepEqual(await ask('asker', 'one'), [])
    assert.deepEqual(await ask('asker', 'eins'), [address])
    await docker('network', 'disconnect', 'front', 'eins')
    assert.deepEqual(await ask('asker', 'eins'), [])
    await docker('rm', '-f', 'eins')
  })

  test('a container of the default bridge asks there from its first connect on', async () => {
    await sleeper('plain')
    assert.doesNotMatch(await docker('exec', 'plain', 'cat', '/etc/resolv.conf'), /127\.0\.0\.11/)
    await docker('network', 'connect', 'front', 'plain')
    const address = await addressOf('asker', 'front')
    assert.deepEqual(await ask('plain', 'asker'), [address])
    await docker('network', 'disconnect', 'front', 'plain')
    assert.doesNotMatch(await docker('exec', 'plain', 'cat', '/etc/resolv.conf'), /127\.0\.0\.11/)
    await docker('network', 'connect', 'front', 'plain')
    assert.deepEqual(await ask('plain', 'asker'), [address])
    await docker('rm', '-f', 'plain')
  })

  test('while no daemon runs a question waits, and is answered by the next one', async () => {
    const address = await addressOf('asker', 'front')
    const pid = await docker('inspect', '-f', '{{.State.Pid}}', 'asker')
    await daemon.kill()
    const asked = daemon.onHost([
      'nsenter',
      '-t',
      pid,
      '--net',
      '--mount',
      ...['/bin/nslookup', '-type=a', '-timeout=100', 'asker'],
    ])
    await daemon.start()
    assert.match((await asked).stdout, new RegExp(`Address: ${address.replaceAll('.', '\\.')}`))
    assert.deepEqual(await ask('asker', 'asker'), [address])
  })

  test('a container’s own server on every address at port 53 works beside it', async () => {
    await sleeper('server', '--network', 'front')
    await docker('exec', '-d', 'server', 'nc', '-l', '-p', '53', '-e', 'echo', 'mine')
    assert.deepEqual(await ask('server', 'asker'), [await addressOf('asker', 'front')])
    assert.equal(await docker('exec', 'asker', 'nc', 'server', '53'), 'mine')
    await docker('rm', '-f', 'server')
  })

  test('names of the world are found past a server that drops all, one by one and sixteen at once', async () => {
    await using dead = await NameServer.start(daemon.namespace, '127.0.0.53', 'drops')
    await using live = await NameServer.start(daemon.namespace, '127.0.0.54', 'answers')
    await sleeper('surfer', '--network', 'front', '--dns', '127.0.0.53', '--dns', '127.0.0.54')
    const find = 'nslookup -type=a $0.test | grep -q 198.51.100.7 || echo lost $0'
    for (const [prefix, width] of [
      ['a', 1],
      ['b', 16],
    ] as const) {
      const names = `seq 200 | sed s/^/${prefix}/ | xargs -n 1 -P ${width} sh -c '${find}'`
      assert.equal(await docker('exec', 'surfer', 'sh', '-c', names), '')
      for (let i = 1; i <= 200; i++) assert.ok(live.asked.includes(`${prefix}${i}.test`))
    }
    // The first that ask together, and now and then one to see whether it is well again.
    assert.ok(dead.asked.length > 0 && dead.asked.length < 200, `${dead.asked.length}`)
    await docker('rm', '-f', 'surfer')
  })
})
