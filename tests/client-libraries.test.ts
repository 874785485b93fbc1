import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { after, before, test } from 'node:test'
import Docker from 'dockerode'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { must } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

test('a session of dockerode', async () => {
  const docker = new Docker({ socketPath: daemon.socket })
  assert.equal((await docker.version()).Version, '0.1.0')
  const output = new PassThrough()
  let text = ''
  output.on('data', chunk => {
    text += chunk
  })
  const [result] = (await docker.run('busybox', ['sh', '-c', 'echo from dockerode'], output, {
    name: 'rode',
    Tty: false,
  })) as [{ StatusCode: number }]
  assert.equal(result.StatusCode, 0)
  assert.match(text, /from dockerode/)
  const container = docker.getContainer('rode')
  assert.equal((await container.inspect()).State.ExitCode, 0)
  assert.match((await container.logs({ stdout: true })).toString(), /from dockerode/)
  await container.remove()
  const longer = await docker.createContainer({
    Image: 'busybox',
    Cmd: ['sleep', '1000'],
    Labels: { session: 'rode' },
  })
  await longer.start()
  const exec = await longer.exec({ Cmd: ['echo', 'inside'], AttachStdout: true })
  const stream = await exec.start({ hijack: true, stdin: false })
  let inside = ''
  for await (const chunk of stream) inside += String(chunk)
  assert.match(inside, /inside/)
  assert.equal((await exec.inspect()).ExitCode, 0)
  assert.equal((await docker.listContainers({ filters: { label: ['session=rode'] } })).length, 1)
  await longer.stop({ t: 0 })
  await longer.remove()
})

const session = `
import docker, sys
client = docker.DockerClient(base_url='unix://' + sys.argv[1])
assert client.ping()
assert client.version()['ApiVersion'] == '1.55'
assert client.containers.run('busybox', 'echo from python', remove=True) == b'from python\\n'
try:
    client.containers.run('busybox', ['sh', '-c', 'exit 3'], remove=True)
    raise SystemExit('no error came')
except docker.errors.ContainerError as error:
    assert error.exit_status == 3
c = client.containers.run('busybox', 'sleep 1000', detach=True, name='py', ports={'80/tcp': ('127.0.0.1', None)}, labels={'a': 'b'})
c.reload()
assert c.status == 'running' and c.labels['a'] == 'b', c.attrs
assert c.ports['80/tcp'][0]['HostIp'] == '127.0.0.1'
code, output = c.exec_run(['sh', '-c', 'echo inside; exit 5'])
assert (code, output) == (5, b'inside\\n'), (code, output)
assert [x.name for x in client.containers.list(filters={'label': 'a=b'})] == ['py']
stats = c.stats(stream=False)
assert stats['memory_stats']['usage'] > 0
assert c.top()['Processes'][0][-1] == 'sleep 1000'
stream, stat = c.get_archive('/etc/passwd')
assert stat['name'] == 'passwd' and b'root' in b''.join(stream)
c.pause(); c.reload(); assert c.status == 'paused'; c.unpause()
c.stop(timeout=0)
assert c.wait()['StatusCode'] == 137
c.remove()
assert client.images.get('busybox').tags == ['busybox:latest']
assert any(e['Action'] == 'die' for e in client.events(decode=True, since=0, until=__import__('time').time()))
try:
    client.containers.get('py')
    raise SystemExit('found')
except docker.errors.NotFound:
    pass
print('done')
`

test('a session of docker-py', async () => {
  assert.equal(await must(['/usr/bin/python3', '-c', session, daemon.socket]), 'done')
})

const pushSession = `
import docker, sys
client = docker.DockerClient(base_url='unix://' + sys.argv[1])
name = sys.argv[2] + '/py/box'
client.images.get('busybox').tag(name, '1')
def push(password):
    account = {'username': 'anna', 'password': password}
    return list(client.images.push(name, tag='1', stream=True, decode=True, auth_config=account))
assert any('error' in line for line in push('not hers'))
lines = push('her~~~???secret')
assert lines[-1]['aux']['Tag'] == '1', lines
image = client.images.pull(name, tag='1', auth_config={'username': 'anna', 'password': 'her~~~???secret'})
assert name + '@' + lines[-1]['aux']['Digest'] in image.attrs['RepoDigests'], image.attrs['RepoDigests']
print('done')
`

test('dockerode and docker-py push to a registry that wants a password', async () => {
  const account = { username: 'anna', password: 'her~~~???secret' }
  await using registry = await ImageRegistry.start(daemon.namespace, { basic: account })
  const python = ['/usr/bin/python3', '-c', pushSession, daemon.socket, registry.address]
  assert.equal(await must(python), 'done')
  const docker = new Docker({ socketPath: daemon.socket })
  const image = docker.getImage('busybox')
  await image.tag({ repo: `${registry.address}/rode/box`, tag: '1' })
  const own = docker.getImage(`${registry.address}/rode/box`)
  const stream = await own.push({ tag: '1', authconfig: { ...account, serveraddress: registry.address } })
  const lines = await new Promise<{ error?: string; aux?: { Tag: string } }[]>((resolve, reject) =>
    docker.modem.followProgress(stream, (error, output) => (error ? reject(error) : resolve(output))),
  )
  assert.equal(lines.at(-1)?.aux?.Tag, '1')
})
