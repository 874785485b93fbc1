import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { startDaemon, type TestDaemon, withDaemon } from './harness/daemon.ts'
import { monitorsOf } from './harness/monitors.ts'
import { until } from './harness/shell.ts'

const mebi = 1 << 20
/** What a file may be longer than its cap by: one batch of lines. */
const slack = 128 * 1024

interface LogUsage {
  CountedBytes: number
  BudgetBytes: number
  DroppedBytes: number
}

const usage = async (daemon: TestDaemon): Promise<LogUsage> =>
  (await daemon.json<{ Berth: { Logs: LogUsage } }>('GET', '/system/df')).Berth.Logs

const folderOf = async (daemon: TestDaemon, name: string): Promise<string> =>
  path.dirname(await daemon.mustDocker(['inspect', '-f', '{{.LogPath}}', name]))

/** Names and sizes of a container's log files, the current one first. */
const filesOf = async (daemon: TestDaemon, name: string): Promise<{ name: string; size: number }[]> => {
  const folder = await folderOf(daemon, name)
  return readdirSync(folder)
    .filter(file => /-json\.log(\.\d+)?$/.test(file))
    .sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
    .map(file => ({ name: file, size: statSync(path.join(folder, file)).size }))
}

const bytesOf = async (daemon: TestDaemon, ...names: string[]): Promise<number> =>
  (await Promise.all(names.map(name => filesOf(daemon, name))))
    .flat()
    .reduce((sum, { size }) => sum + size, 0)

/** Numbered lines; each takes some 80 bytes of the log. */
const write = (count: number): string => `seq ${count}`

const linesOf = async (daemon: TestDaemon, name: string): Promise<{ out: string[]; err: string }> => {
  const { code, stdout, stderr } = await daemon.docker(['logs', name])
  assert.equal(code, 0, stderr)
  return { out: stdout.split('\n').filter(Boolean), err: stderr }
}

/** What is left are the last lines, none of them missing. */
const assertSuffix = (lines: readonly string[], last: number): void => {
  assert.ok(lines.length > 0)
  const first = last - lines.length + 1
  assert.ok(lines.every((line, index) => line === String(first + index)))
}

const run = (daemon: TestDaemon, name: string, script: string, ...options: string[]): Promise<string> =>
  daemon.mustDocker(['run', '--name', name, ...options, 'busybox', 'sh', '-c', script])

const belowBudget = (daemon: TestDaemon): Promise<unknown> =>
  until('the logs were brought below the budget', async () => {
    const { CountedBytes, BudgetBytes } = await usage(daemon)
    return CountedBytes <= BudgetBytes
  })

const small = ['--log-default-max-size=256k', '--log-default-max-file=3']

test('a container without options is held by the daemon’s caps, and its own options win', async () => {
  await withDaemon({ flags: small }, async daemon => {
    await run(daemon, 'plain', `${write(50_000)} >&2; ${write(50_000)}`, '-d')
    await daemon.mustDocker(['wait', 'plain'])
    const files = await filesOf(daemon, 'plain')
    assert.equal(files.length, 3)
    for (const { size } of files) assert.ok(size <= (256 << 10) + slack, `${size}`)
    assertSuffix((await linesOf(daemon, 'plain')).out, 50_000)
    assert.equal(
      await daemon.mustDocker(['inspect', '-f', '{{json .HostConfig.LogConfig}}', 'plain']),
      '{"Type":"json-file","Config":{}}',
    )
    await run(daemon, 'one', write(50_000), '-d', '--log-opt', 'max-size=1m')
    await daemon.mustDocker(['wait', 'one'])
    assert.equal((await filesOf(daemon, 'one')).length, 1)
    assert.ok((await bytesOf(daemon, 'one')) <= mebi + slack)
    await run(daemon, 'all', write(50_000), '-d', '--log-opt', 'max-size=-1')
    await daemon.mustDocker(['wait', 'all'])
    assert.equal((await linesOf(daemon, 'all')).out.length, 50_000)
  })
})

test('without caps and budget a log is one file, as Docker’s', async () => {
  await withDaemon({ flags: ['--log-default-max-size=-1', '--log-budget=0'] }, async daemon => {
    await run(daemon, 'free', write(400_000), '-d')
    await daemon.mustDocker(['wait', 'free'])
    const files = await filesOf(daemon, 'free')
    assert.equal(files.length, 1)
    assert.ok((files[0]?.size ?? 0) > 24 * mebi)
    assert.equal((await linesOf(daemon, 'free')).out.length, 400_000)
    assert.deepEqual(await usage(daemon), {
      CountedBytes: files[0]?.size,
      BudgetBytes: 0,
      DroppedBytes: 0,
    })
  })
})

test('the caps hold while no daemon is there', async () => {
  await withDaemon({ flags: small }, async daemon => {
    const shared = path.join(daemon.base, 'shared')
    mkdirSync(shared)
    await run(
      daemon,
      'alone',
      `while ! test -e /x/go; do sleep 0.05; done; ${write(100_000)}; touch /x/done; sleep 1000`,
      ...['-d', '-v', `${shared}:/x`],
    )
    const folder = await folderOf(daemon, 'alone')
    await daemon.kill()
    writeFileSync(path.join(shared, 'go'), '')
    await until('all was written', () => existsSync(path.join(shared, 'done')))
    const found = () => readdirSync(folder).filter(name => /-json\.log(\.\d+)?$/.test(name))
    assert.ok(found().length <= 3)
    // The last lines may be on their way yet, and with them a rotation.
    const files = await until('there were three files', () => found().length === 3 && found())
    for (const name of files) assert.ok(statSync(path.join(folder, name)).size <= (256 << 10) + slack)
    await daemon.start()
    await until(
      'the last line was logged',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'alone'])) === '100000',
    )
    assertSuffix((await linesOf(daemon, 'alone')).out, 100_000)
  })
})

test('all logs together stay below the budget: the largest give way, and none loses its end', async () => {
  await withDaemon({ flags: ['--log-budget=16m'] }, async daemon => {
    await run(daemon, 'quiet', write(5000), '-d')
    await daemon.mustDocker(['wait', 'quiet'])
    const loud: [string, ...string[]][] = [
      ['parts', 'max-size=2m', 'max-file=20'],
      ['uncapped', 'max-size=-1'],
      ['single', 'max-size=100m'],
      ['plain'],
    ]
    for (const [name, ...options] of loud)
      await run(
        daemon,
        name,
        `${write(120_000)}; sleep 1000`,
        '-d',
        ...options.flatMap(option => ['--log-opt', option]),
      )
    for (const [name] of loud)
      await until(
        `${name} wrote all`,
        async () => (await daemon.mustDocker(['logs', '--tail', '1', name])) === '120000',
      )
    await belowBudget(daemon)
    const names = ['quiet', ...loud.map(([name]) => name)]
    const counted = await usage(daemon)
    const real = await bytesOf(daemon, ...names)
    assert.ok(real - counted.CountedBytes >= 0 && real - counted.CountedBytes < names.length * mebi)
    assert.equal(counted.BudgetBytes, 16 * mebi)
    assert.ok(counted.DroppedBytes > 15 * mebi, `${counted.DroppedBytes}`)
    assert.deepEqual(
      (await linesOf(daemon, 'quiet')).out,
      [...Array(5000).keys()].map(n => String(n + 1)),
    )
    for (const [name] of loud) {
      assert.ok((await bytesOf(daemon, name)) >= mebi, name)
      assertSuffix((await linesOf(daemon, name)).out, 120_000)
    }
    const events = (
      await daemon.mustDocker([
        'events',
        '--since',
        '0',
        '--until',
        '0s',
        '--filter',
        'event=log_drop',
        '--format',
        '{{json .}}',
      ])
    )
      .split('\n')
      .map(line => JSON.parse(line) as { Actor: { Attributes: Record<string, string> } })
    const told = events.reduce((sum, { Actor }) => sum + Number(Actor.Attributes['berth.bytes']), 0)
    assert.equal(told, counted.DroppedBytes)
    assert.ok(events.every(({ Actor }) => Actor.Attributes['name'] !== 'quiet'))
    assert.ok(events.every(({ Actor }) => Actor.Attributes['berth.cause'] === 'log-budget'))
    assert.match(daemon.log, /level=warn msg="all logs together had passed log-budget/)
  })
})

test('one large current file gives way, and who follows it goes on', async () => {
  await withDaemon({ flags: ['--log-budget=16m'] }, async daemon => {
    await run(
      daemon,
      'big',
      `seq 10; while ! test -e /go; do sleep 0.05; done; ${write(400_000)}; while ! test -e /end; do sleep 0.05; done; echo end`,
      ...['-d', '--log-opt', 'max-size=1g'],
    )
    const child = spawn(daemon.client, ['logs', '-f', 'big'], {
      env: { ...process.env, ...daemon.dockerEnv },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let followed = ''
    child.stdout.on('data', chunk => {
      followed += chunk
    })
    const done = new Promise(resolve => child.once('close', resolve))
    await until('the follower reads', () => followed.includes('10\n'))
    await daemon.mustDocker(['exec', 'big', 'touch', '/go'])
    await until('the follower has all', () => followed.endsWith('400000\n'))
    await until('some was taken', async () => (await usage(daemon)).DroppedBytes > 0)
    await belowBudget(daemon)
    await daemon.mustDocker(['exec', 'big', 'touch', '/end'])
    await done
    assert.ok(followed.endsWith('\n400000\nend\n'))
    const { out } = await linesOf(daemon, 'big')
    assertSuffix(out.slice(0, -1), 400_000)
    assert.equal(out.at(-1), 'end')
    assert.ok((await bytesOf(daemon, 'big')) <= 16 * mebi)
  })
})

test('a reader that rotation overtakes is told so, and goes on with what is there', async () => {
  await withDaemon({}, async daemon => {
    await run(
      daemon,
      'fast',
      `seq 10; while ! test -e /go; do sleep 0.05; done; ${write(600_000)}; touch /done; while ! test -e /end; do sleep 0.05; done; echo end`,
      ...['-d', '--log-opt', 'max-size=1m', '--log-opt', 'max-file=2'],
    )
    const child = spawn(daemon.client, ['logs', '-f', 'fast'], {
      env: { ...process.env, ...daemon.dockerEnv },
    })
    const said = { out: '', err: '' }
    child.stdout.on('data', chunk => {
      said.out += chunk
    })
    child.stderr.on('data', chunk => {
      said.err += chunk
    })
    const done = new Promise(resolve => child.once('close', resolve))
    await until('the follower reads', () => said.out.includes('10\n'))
    child.kill('SIGSTOP')
    await daemon.mustDocker(['exec', 'fast', 'touch', '/go'])
    await until(
      'all was written',
      async () => (await daemon.docker(['exec', 'fast', 'test', '-e', '/done'])).code === 0,
    )
    child.kill('SIGCONT')
    await daemon.mustDocker(['exec', 'fast', 'touch', '/end'])
    await done
    assert.match(said.err, /^\[berth\] output was lost: the log was rotated away/)
    const lines = said.out.trim().split('\n')
    assert.deepEqual(lines.slice(-2), ['600000', 'end'])
    assert.ok(lines.length < 600_000)
    assert.deepEqual(new Set(lines).size, lines.length - 10, 'no line but the first ten came twice')
  })
})

test('a daemon that is started with a smaller budget makes room, of running and of ended containers', async () => {
  await withDaemon({ flags: ['--log-default-max-size=-1', '--log-budget=0'] }, async daemon => {
    await run(daemon, 'ended', write(200_000), '-d')
    await daemon.mustDocker(['wait', 'ended'])
    await run(daemon, 'living', `${write(200_000)}; sleep 1000`, '-d')
    await until(
      'all was written',
      async () => (await daemon.mustDocker(['logs', '--tail', '1', 'living'])) === '200000',
    )
    assert.ok((await bytesOf(daemon, 'ended', 'living')) > 24 * mebi)
    await daemon.restart({ flags: ['--log-budget=16m'] })
    await until('some was taken', async () => (await usage(daemon)).DroppedBytes > 0)
    await belowBudget(daemon)
    for (const name of ['ended', 'living']) {
      assert.ok((await bytesOf(daemon, name)) >= mebi)
      const { out, err } = await linesOf(daemon, name)
      assertSuffix(out, 200_000)
      assert.match(err, /^\[berth\] \d+ bytes of older output dropped: all logs together/)
    }
    await daemon.mustDocker(['start', 'ended'])
    await daemon.mustDocker(['wait', 'ended'])
    await belowBudget(daemon)
    assertSuffix((await linesOf(daemon, 'ended')).out.slice(-200_000), 200_000)
  })
})

test('a monitor that does not answer holds up no other log', async () => {
  await withDaemon({}, async daemon => {
    for (const [name, lines] of [
      ['stuck', '200000'],
      ['free', '190000'],
    ] as const) {
      await run(daemon, name, `${write(Number(lines))}; sleep 1000`, '-d', '--log-opt', 'max-size=1g')
      await until(
        `${name} wrote all`,
        async () => (await daemon.mustDocker(['logs', '--tail', '1', name])) === lines,
      )
    }
    const id = await daemon.mustDocker(['inspect', '-f', '{{.Id}}', 'stuck'])
    const monitor = monitorsOf(daemon.execRoot).find(entry => entry.id === id)
    assert.ok(monitor)
    process.kill(monitor.pid, 'SIGSTOP')
    try {
      writeFileSync(path.join(daemon.base, 'daemon.json'), '{"log-budget": "16m"}')
      process.kill(daemon.pid, 'SIGHUP')
      await until('the other log gave way', async () => (await bytesOf(daemon, 'free')) < 4 * mebi)
      assert.match(daemon.log, /a log could not be shortened.*its monitor did not answer/)
    } finally {
      process.kill(monitor.pid, 'SIGCONT')
    }
    await run(daemon, 'more', write(60_000), '-d')
    await until('the first one gave way, too', async () => (await bytesOf(daemon, 'stuck')) < 15 * mebi)
    assertSuffix((await linesOf(daemon, 'stuck')).out, 200_000)
  })
})

test('a budget that cannot be held takes no last lines, and is told once', async () => {
  await withDaemon({ flags: ['--log-budget=16m'] }, async daemon => {
    const names = Array.from({ length: 18 }, (_, index) => `c${index}`)
    for (const name of names) {
      await run(daemon, name, write(15_000), '-d')
      await daemon.mustDocker(['wait', name])
    }
    await until('it was told', () => daemon.log.includes('last lines of each container'))
    for (const name of names) assertSuffix((await linesOf(daemon, name)).out, 15_000)
    assert.equal(daemon.log.split('last lines of each container').length, 2)
    for (const name of names.slice(8)) await daemon.mustDocker(['rm', name])
    const { CountedBytes } = await usage(daemon)
    assert.equal(CountedBytes, await bytesOf(daemon, ...names.slice(0, 8)))
  })
})

test('what cannot be a cap or a budget is refused by name', async () => {
  const daemon = await startDaemon()
  try {
    for (const [flag, message] of [
      ['--log-default-max-size=much', /log-default-max-size: want a size as 20m, or -1 for no cap/],
      ['--log-default-max-file=0', /log-default-max-file: at least 1/],
      ['--log-budget=1m', /log-budget: at least 16m/],
      ['--log-budget=x', /log-budget: want a size as 10g, or 0 for none/],
    ] as const) {
      const { code, stderr } = await daemon.onHost(['bin/berthd', '--validate', flag])
      assert.equal(code, 1)
      assert.match(stderr, message)
    }
    const { BudgetBytes } = await usage(daemon)
    assert.ok(BudgetBytes >= 16 * mebi && BudgetBytes <= 10 * 1024 * mebi)
    assert.doesNotMatch(readFileSync(path.join(daemon.base, 'daemon.log'), 'utf8'), /level=error/)
  } finally {
    await daemon.close()
  }
})
