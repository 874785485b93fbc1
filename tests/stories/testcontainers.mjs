/** What tests do with Testcontainers for Node: `testcontainers.mjs PART`. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { GenericContainer, Network, Wait } from 'testcontainers'

const [part] = process.argv.slice(2)

// It says that it is ready when it is.
const answers = 'wget -q -O /dev/null http://127.0.0.1:8080/ 2>/dev/null'
const httpd = [
  'mkdir -p /www && echo page >/www/index.html',
  `{ until ${answers}; do sleep 0.02; done; echo ready; } &`,
  'exec httpd -f -p 8080 -h /www',
].join('\n')
const server = () =>
  new GenericContainer('busybox:latest').withCommand(['sh', '-c', httpd]).withExposedPorts(8080)

const page = container => fetch(`http://${container.getHost()}:${container.getMappedPort(8080)}/`).then(r => r.text())

const parts = {
  waits: async () => {
    const ways = [
      Wait.forLogMessage('ready'),
      Wait.forListeningPorts(),
      Wait.forHttp('/', 8080).forStatusCode(200),
      Wait.forSuccessfulCommand(answers),
      Wait.forAll([Wait.forLogMessage(/rea.y/), Wait.forListeningPorts()]),
    ]
    for (const way of ways) {
      await using container = await server().withWaitStrategy(way).start()
      assert.equal(await page(container), 'page\n')
    }
    const probe = { test: ['CMD-SHELL', answers], interval: 200, timeout: 5000, retries: 50 }
    await using healthy = await server().withHealthCheck(probe).withWaitStrategy(Wait.forHealthCheck()).start()
    assert.equal(await page(healthy), 'page\n')
    await using once = await new GenericContainer('busybox:latest')
      .withCommand(['sh', '-c', 'echo over'])
      .withWaitStrategy(Wait.forOneShotStartup())
      .start()
    assert.match(once.getName(), /./)
    const never = new GenericContainer('busybox:latest')
      .withCommand(['sh', '-c', 'echo gone; exit 3'])
      .withWaitStrategy(Wait.forLogMessage('ready'))
      .withStartupTimeout(3000)
    await assert.rejects(never.start(), /"ready"|exited|not received/)
    await assert.rejects(new GenericContainer('busybox:latest').withCommand(['no-such-program']).start(), /executable file not found/)
  },
  files: async () => {
    const file = path.join(process.cwd(), 'copied.txt')
    writeFileSync(file, 'from a file\n')
    await using container = await server()
      .withCopyContentToContainer([{ content: 'from text\n', target: '/in/text', mode: 0o600 }])
      .withCopyFilesToContainer([{ source: file, target: '/in/file' }])
      .withEnvironment({ A: 'b' })
      .withTmpFs({ '/fast': 'rw' })
      .withUser('root')
      .withLabels({ mine: 'yes' })
      .start()
    assert.equal((await container.exec('cat /in/text /in/file')).output, 'from text\nfrom a file\n')
    const { exitCode, stdout, stderr } = await container.exec(['sh', '-c', 'echo $A; echo e >&2; exit 4'])
    assert.deepEqual([exitCode, stdout, stderr], [4, 'b\n', 'e\n'])
    await container.copyContentToContainer([{ content: 'late\n', target: '/in/late' }])
    await container.copyDirectoriesToContainer([{ source: process.cwd(), target: '/whole' }])
    assert.equal((await container.exec('cat /in/late /whole/copied.txt')).output, 'late\nfrom a file\n')
    const archive = await container.copyArchiveFromContainer('/in/text')
    const bytes = []
    for await (const chunk of archive) bytes.push(chunk)
    assert.ok(Buffer.concat(bytes).includes('from text\n'))
    const logs = await container.logs()
    const line = await new Promise(resolve => {
      logs.once('data', resolve)
    })
    assert.match(String(line), /ready/)
    logs.destroy()
    await container.restart()
    assert.equal(await page(container), 'page\n')
  },
  networks: async () => {
    await using network = await new Network().start()
    await using one = await server().withNetwork(network).withNetworkAliases('web').start()
    await using two = await server().withNetwork(network).start()
    const { output } = await two.exec('wget -qO- http://web:8080/')
    assert.equal(output, 'page\n')
    assert.ok(one.getIpAddress(network.getName()))
  },
  reuse: async () => {
    const first = await server().withReuse().start()
    const second = await server().withReuse().start()
    assert.equal(first.getId(), second.getId())
    await first.stop()
  },
  killed: async () => {
    const network = await new Network().start()
    await server().withNetwork(network).start()
    console.log('left')
    process.kill(process.pid, 'SIGKILL')
  },
}

// Of its streams Testcontainers waits for none.
const alive = setInterval(() => {}, 1000)
await parts[part]()
clearInterval(alive)
console.log(`${part}: done`)
