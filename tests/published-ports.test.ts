import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { joinOtherHost, type OtherHost } from './harness/otherHost.ts'
import { patience, run, until } from './harness/shell.ts'

/** Another host, joined to the daemon's by a veth pair: 10.99.0.2 to the daemon's 10.99.0.1. */
let daemon: TestDaemon
let other: OtherHost
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
  other = await joinOtherHost(daemon.name, { near: '10.99.0.1', far: '10.99.0.2' })
})
after(async () => {
  await other.close()
  await daemon.close()
})

const serve = async (name: string, ...options: string[]): Promise<void> => {
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    name,
    ...options,
    'busybox',
    'sh',
    '-c',
    `echo ${name} > /tmp/index.html; exec httpd -f -h /tmp`,
  ])
  await until('the server listens', async () => (await fromContainer(name, 'http://127.0.0.1/')) === name)
}

const fetched = (stdout: string): string => stdout.trim()
const fromHost = async (url: string): Promise<string> =>
  fetched((await daemon.onHost(['curl', '-s', '-m', '2', url])).stdout)
const fromOutside = async (url: string): Promise<string> =>
  fetched((await run(['nsenter', `--net=${other.namespace}`, 'curl', '-s', '-m', '2', url])).stdout)
/** By nc: the C library of busybox-static cannot look names up, and its wget tries to. */
const fromContainer = async (name: string, url: string): Promise<string> => {
  const { hostname, port } = new URL(url)
  const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${hostname} ${port || 80} | tail -n 1`
  return fetched((await daemon.docker(['exec', name, 'sh', '-c', script])).stdout)
}

test('a port on all addresses is reached from everywhere', async () => {
  await serve('open', '-p', '8081:80')
  await serve('other')
  assert.equal(await fromHost('http://127.0.0.1:8081/'), 'open')
  assert.equal(await fromHost('http://10.99.0.1:8081/'), 'open')
  assert.equal(await fromOutside('http://10.99.0.1:8081/'), 'open')
  assert.equal(await fromContainer('other', 'http://10.99.0.1:8081/'), 'open')
  assert.equal(await fromContainer('open', 'http://10.99.0.1:8081/'), 'open')
})

test('a port on 127.0.0.1 is for this host alone', async () => {
  await serve('local', '-p', '127.0.0.1:8082:80')
  assert.equal(await fromHost('http://127.0.0.1:8082/'), 'local')
  assert.equal(await fromOutside('http://10.99.0.1:8082/'), '')
  assert.equal(await fromContainer('other', 'http://10.99.0.1:8082/'), '')
})

test('what is not published is not reached from outside; containers reach each other and the world', async () => {
  const address = await daemon.mustDocker(['inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'other'])
  assert.equal(await fromOutside(`http://${address}/`), '')
  assert.equal(await fromHost(`http://${address}/`), 'other')
  assert.equal(await fromContainer('open', `http://${address}/`), 'other')
  assert.equal((await daemon.docker(['exec', 'other', 'ping', '-c', '1', '-W', '2', '10.99.0.2'])).code, 0)
})

test('ephemeral ports, ranges and conflicts', async () => {
  await serve('any', '-p', '80')
  const port = (await daemon.mustDocker(['port', 'any', '80/tcp'])).split(':').at(-1)
  assert.ok(Number(port) >= 32768)
  assert.equal(await fromHost(`http://127.0.0.1:${port}/`), 'any')
  const taken = await daemon.docker(['run', '--rm', '-p', '8081:80', 'busybox', 'true'])
  assert.equal(taken.code, 125)
  assert.match(taken.stderr, /Bind for 0\.0\.0\.0:8081 failed: port is already allocated/)
  assert.match(taken.stderr, /open/)
  await daemon.mustDocker(['rm', '-f', 'open'])
  await serve('next', '-p', '8081:80')
  assert.equal(await fromOutside('http://10.99.0.1:8081/'), 'next')
  await daemon.mustDocker(['create', '--name', 'all', '-P', '--expose', '80', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(['start', 'all'])
  assert.match(await daemon.mustDocker(['port', 'all']), /^80\/tcp -> 0\.0\.0\.0:\d+$/)
})

test("with --firewall-mode=host a published port obeys the host's own rules", async () => {
  await daemon.restart({ flags: ['--firewall-mode=host'] })
  await serve('asked', '-p', '8083:80')
  const rules = `
    add table inet owner
    add chain inet owner input { type filter hook input priority filter; policy drop; }
    add rule inet owner input iif lo accept
    add rule inet owner input ct state established,related accept`
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), 'asked')
  await daemon.onHost(['nft', rules])
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), '')
  assert.equal(await fromHost('http://127.0.0.1:8083/'), 'asked')
  await daemon.onHost(['nft', 'add rule inet owner input ip saddr 10.99.0.2 tcp dport 8083 accept'])
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), 'asked')
  await daemon.onHost(['nft', 'delete table inet owner'])
  await daemon.restart()
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), 'asked')
})

test('docker info says which rule of another program stops containers, and our own table comes back', async () => {
  const warnings = async (): Promise<string[]> =>
    (await daemon.json<{ Warnings: string[] }>('GET', '/info')).Warnings.filter(text => /stops/.test(text))
  assert.deepEqual(await warnings(), [])
  await daemon.onHost(['nft', 'add table ip filter'])
  await daemon.onHost([
    ...['nft', 'add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }'],
  ])
  await until('it is said', async () => (await warnings()).length === 1)
  assert.match((await warnings())[0] ?? '', /^WARNING: the chain FORWARD of the host's table ip filter stops/)
  assert.match(daemon.log, /level=warn msg="the chain FORWARD/)
  await daemon.onHost(['nft', 'flush ruleset'])
  await until('it is said no more', async () => (await warnings()).length === 0)
  await until('it is published', async () => (await fromOutside('http://10.99.0.1:8083/')) === 'asked')
  assert.match(daemon.log, /nft changed Berth's own rules/)
})

test('with --firewall-foreign=accept such a rule stops nothing, and ours among them go with the option', async () => {
  await daemon.restart({ flags: ['--firewall-foreign=accept'] })
  await daemon.onHost(['nft', 'add table ip filter'])
  await daemon.onHost([
    ...['nft', 'add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }'],
  ])
  await daemon.onHost(['nft', 'add rule ip filter FORWARD ct state established accept'])
  await until('it passes', async () => (await fromOutside('http://10.99.0.1:8083/')) === 'asked')
  const rules = async (): Promise<string> => (await daemon.onHost(['nft', 'list table ip filter'])).stdout
  assert.match(await rules(), /oifname "br-[a-f0-9]+" accept comment "berth-[a-f0-9]+"/)
  await daemon.restart()
  await until('they are gone', async () => !/comment/.test(await rules()))
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), '')
  await daemon.onHost(['nft', 'delete table ip filter'])
  assert.equal(await fromOutside('http://10.99.0.1:8083/'), 'asked')
})

const steadySender = `
  const socket = require('dgram').createSocket('udp4')
  socket.bind(4444, () => setInterval(() => socket.send('tick', 5353, '10.99.0.1'), 50))`
const listener = "require('dgram').createSocket('udp4').bind(53).once('message', () => process.exit())"

/** Runs a container and a server in its namespace, and waits until the server gets a datagram. */
const hearsTick = async (name: string): Promise<void> => {
  await daemon.mustDocker(['run', '-d', '--name', name, '-p', '5353:53/udp', 'busybox', 'sleep', '1000'])
  const pid = await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', name])
  const server = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, process.execPath, '-e', listener])
  await new Promise(resolve => server.once('exit', resolve))
}

for (const mode of ['open', 'host'])
  test(`a sender that never stops reaches the new container after the old one, mode ${mode}`, async () => {
    await daemon.restart({ flags: [`--firewall-mode=${mode}`] })
    const sender = spawn('nsenter', [`--net=${other.namespace}`, process.execPath, '-e', steadySender])
    try {
      for (const name of ['first', 'second', 'third']) {
        await hearsTick(name)
        await daemon.mustDocker(['rm', '-f', name])
      }
    } finally {
      sender.kill()
    }
  })

test('a program of the host’s that holds the port is told of', async () => {
  const script = "require('net').createServer().listen(8090, '0.0.0.0', () => console.log('listening'))"
  const holder = spawn('nsenter', [`--net=${daemon.namespace}`, process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise(resolve => holder.stdout.once('data', resolve))
  const result = await daemon.docker(['run', '--rm', '-p', '8090:80', 'busybox', 'true'])
  holder.kill()
  assert.equal(result.code, 125)
  // Who it is is told where that is found soon, which a slow machine does not.
  const program = patience > 1 ? '' : ' \\(by node-MainThread, process \\d+\\)'
  assert.match(result.stderr, new RegExp(`8090.*address already in use${program}`))
})
