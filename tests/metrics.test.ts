import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

/** What Prometheus reads at `--metrics-addr`. */

let daemon: TestDaemon

before(async () => {
  daemon = await startDaemon({ flags: ['--metrics-addr', '127.0.0.1:9323'] })
  await daemon.loadBusybox()
})
after(() => daemon.close())

const fetch = async (path = '/metrics'): Promise<string> => {
  const script = `import urllib.request, sys
try:
  answer = urllib.request.urlopen('http://127.0.0.1:9323' + sys.argv[1])
  print(answer.status, answer.headers['Content-Type']); print(answer.read().decode(), end='')
except urllib.error.HTTPError as error: print(error.code)`
  const { code, stdout, stderr } = await daemon.onHost(['python3', '-c', script, path])
  assert.equal(code, 0, stderr)
  return stdout
}

/** The value of a series, whose labels are given in any part. */
const figure = (text: string, name: string, ...labels: string[]): number | undefined => {
  const line = text
    .split('\n')
    .find(
      each =>
        (each.startsWith(`${name}{`) || each.startsWith(`${name} `)) &&
        labels.every(label => each.includes(label)),
    )
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

test('every line is of the text format, and of a family that is told once', async () => {
  const [head, ...lines] = (await fetch()).trimEnd().split('\n')
  assert.equal(head, '200 text/plain; version=0.0.4; charset=utf-8')
  const types = new Map<string, string>()
  for (const line of lines) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line)
    if (type?.[1]) {
      assert.equal(types.has(type[1]), false, line)
      types.set(type[1], type[2] ?? '')
    } else if (!line.startsWith('# HELP ')) {
      const name = /^([a-z_]+)(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+$/.exec(line)?.[1] ?? ''
      const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
      assert.ok(types.has(family), line)
    }
  }
})

test('actions, states, events, checks and requests are counted', async () => {
  const before = await fetch()
  await daemon.mustDocker(['run', '--rm', 'busybox', 'true'])
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'busy',
    '--health-cmd',
    'false',
    '--health-interval',
    '1s',
    'busybox',
    'sleep',
    '1000',
  ])
  await daemon.mustDocker(['run', '-d', '--name', 'paused', 'busybox', 'sleep', '1000'])
  await daemon.mustDocker(['pause', 'paused'])
  await daemon.mustDocker(['create', '--name', 'made', 'busybox'])
  await daemon.docker(['inspect', 'nobody'])
  const text = await until('a check that failed', async () => {
    const now = await fetch()
    return (figure(now, 'engine_daemon_health_checks_failed_total') ?? 0) > 0 && now
  })
  const rise = (name: string, ...labels: string[]): number =>
    (figure(text, name, ...labels) ?? 0) - (figure(before, name, ...labels) ?? 0)
  const actions = 'engine_daemon_container_actions_seconds_count'
  assert.deepEqual(
    ['create', 'start', 'delete'].map(action => rise(actions, `action="${action}"`)),
    [4, 3, 1],
  )
  assert.equal(rise('engine_daemon_container_actions_seconds_bucket', 'action="start"', 'le="+Inf"'), 3)
  assert.equal(rise('engine_daemon_network_actions_seconds_count', 'action="allocate"'), 3)
  assert.equal(rise('engine_daemon_network_actions_seconds_count', 'action="release"'), 1)
  const states = ['running', 'paused', 'stopped'].map(state =>
    figure(text, 'engine_daemon_container_states_containers', `state="${state}"`),
  )
  assert.deepEqual(states, [1, 1, 1])
  assert.ok(rise('engine_daemon_events_total') >= 12)
  assert.ok(rise('engine_daemon_health_checks_total') > 0)
  assert.ok(rise('engine_daemon_health_check_start_duration_seconds_count') > 0)
  assert.equal(rise('berth_api_requests_total', 'operation="ContainerCreate"', 'code="201"'), 4)
  assert.equal(rise('berth_api_requests_total', 'operation="ContainerInspect"', 'code="404"'), 1)
  assert.equal(figure(text, 'engine_daemon_engine_info', 'os_type="linux"', 'graphdriver="overlay2"'), 1)
})

test('a running container has figures of its own, which grow with what it does', async () => {
  const name = 'name="worker"'
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    'worker',
    '-m',
    '64m',
    'busybox',
    'sh',
    '-c',
    'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000',
  ])
  const text = await until('its CPU time', async () => {
    const now = await fetch()
    return (figure(now, 'berth_container_cpu_seconds_total', name) ?? 0) > 0.05 && now
  })
  assert.equal(figure(text, 'berth_container_memory_limit_bytes', name), 64 * 1024 * 1024)
  assert.ok((figure(text, 'berth_container_memory_usage_bytes', name) ?? 0) > 0)
  assert.ok((figure(text, 'berth_container_processes', name, 'image="busybox"') ?? 0) >= 1)
  assert.equal(figure(text, 'berth_container_restarts_total', name), 0)
  assert.notEqual(
    figure(text, 'berth_container_network_sent_bytes_total', name, 'interface="eth0"'),
    undefined,
  )
  assert.equal(figure(await fetch('/metrics?containers=0'), 'berth_container_processes'), undefined)
  await daemon.mustDocker(['rm', '-f', 'worker'])
  assert.equal(figure(await fetch(), 'berth_container_processes', name), undefined)
})

test('the door has nothing but metrics, and an address that is taken or none is an error', async () => {
  assert.equal((await fetch('/containers/json')).trim(), '404')
  const refused = (address: string) =>
    daemon.onHost(['node', 'src/daemon/main.ts', '--validate', '--metrics-addr', address])
  const { code, stderr } = await refused('nowhere')
  assert.equal(code, 1)
  assert.match(stderr, /invalid value "nowhere" for metrics-addr: want host:port/)
})
