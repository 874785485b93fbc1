import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { stringify } from '../../../core/json.ts'
import { hostCpu } from './counters.ts'
import { blkioEntries, group1Stats } from './group1.ts'
import { group2Stats, ioEntries } from './group2.ts'

describe('the host', () => {
  it('counts the first seven times of all cores', () => {
    const text = 'cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 0 0\nintr 5\n'
    assert.deepEqual(hostCpu(text), { usage: 280_000_000n, cores: 2 })
  })
})

describe('figures of version 1', () => {
  const files: Record<string, string> = {
    'cpuacct.usage': '18446744073709551615\n',
    'cpuacct.usage_percpu': '5 7 \n',
    'cpuacct.stat': 'user 2\nsystem 3',
    'cpu.stat': 'nr_periods 4\nnr_throttled 1\nthrottled_time 99',
    'memory.stat': 'cache 10\ntotal_cache 20\nhierarchical_memory_limit 9223372036854771712',
    'memory.usage_in_bytes': '4096',
    'memory.limit_in_bytes': '9223372036854771712',
    'pids.current': '3',
    'pids.max': 'max',
    'blkio.throttle.io_service_bytes': '8:0 Read 4096\n8:0 Write 1\nTotal 4097',
  }
  const stats = group1Stats((_controller, file) => files[file])

  it('keep every digit', () => {
    assert.equal(stats.cpu.cpu_usage.total_usage, 18446744073709551615n)
    assert.match(stringify(stats), /"total_usage":18446744073709551615,/)
  })

  it('are told in Docker’s units and names', () => {
    assert.deepEqual(stats.cpu.cpu_usage.percpu_usage, [5n, 7n])
    assert.equal(stats.cpu.cpu_usage.usage_in_kernelmode, 30_000_000n)
    assert.equal(stats.cpu.throttling_data.throttled_time, 99n)
    assert.equal(stats.memory.stats?.['total_cache'], 20n)
    assert.equal(stats.memory.stats?.['rss'], 0n)
    assert.deepEqual(stats.pids, { current: 3n })
    assert.deepEqual(stats.blkio.io_service_bytes_recursive, [
      { major: 8n, minor: 0n, op: 'Read', value: 4096n },
      { major: 8n, minor: 0n, op: 'Write', value: 1n },
    ])
  })

  it('leave out what is 0 or not there', () => {
    assert.equal('failcnt' in stats.memory, false)
    assert.deepEqual(blkioEntries(undefined), [])
  })
})

describe('figures of version 2', () => {
  const files: Record<string, string> = {
    'cpu.stat': 'usage_usec 5\nuser_usec 2\nsystem_usec 3\nnr_periods 1\nnr_throttled 0\nthrottled_usec 7',
    'memory.current': '8192',
    'memory.max': 'max',
    'memory.stat': 'anon 1\nfile 2\npgfault 3',
    'memory.events': 'low 0\noom 2\noom_kill 1',
    'pids.current': '1',
    'pids.max': 'max',
    'io.stat': '8:0 rbytes=4096 wbytes=5 rios=1 wios=1 dbytes=0 dios=0',
  }
  const stats = group2Stats(file => files[file])

  it('are told in Docker’s units and names', () => {
    assert.equal(stats.cpu.cpu_usage.total_usage, 5000n)
    assert.equal('percpu_usage' in stats.cpu.cpu_usage, false)
    assert.equal(stats.cpu.throttling_data.throttled_time, 7000n)
    assert.equal(stats.memory.limit, 2n ** 64n - 1n)
    assert.equal(stats.memory.failcnt, 2n)
    assert.equal(stats.memory.stats?.['pgfault'], 3n)
    assert.equal(stats.pids.limit, 2n ** 64n - 1n)
    assert.equal(stats.blkio.io_serviced_recursive, null)
  })

  it('read one line a device', () => {
    assert.deepEqual(ioEntries(files['io.stat']), [
      { major: 8n, minor: 0n, op: 'read', value: 4096n },
      { major: 8n, minor: 0n, op: 'write', value: 5n },
    ])
  })

  it('are empty for a group that has just gone', () => {
    const gone = group2Stats(() => undefined)
    assert.deepEqual(
      [gone.pids, gone.memory.limit, gone.blkio.io_service_bytes_recursive],
      [{}, undefined, null],
    )
  })
})
