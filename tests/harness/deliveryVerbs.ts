import assert from 'node:assert/strict'
import type { TestDaemon } from './daemon.ts'
import { ForwardSink } from './forwardSink.ts'
import { LogSink } from './logSink.ts'
import { until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** A log on its way to a sink: the daemon dies between sending and noting that it has sent. */
const sinks = new WeakMap<TestDaemon, LogSink>()

const listen = async (daemon: TestDaemon): Promise<void> => {
  sinks.set(daemon, await LogSink.start(daemon.namespace, { kind: 'tcp', address: 5514 }))
}

/** Every line came, in order; a line may have come twice. */
const isDelivered = async (daemon: TestDaemon): Promise<void> => {
  const sink = sinks.get(daemon) ?? assert.fail('nobody listens')
  await until('the last line came', () => sink.text.endsWith(': last\n'))
  const words = sink.text
    .trimEnd()
    .split('\n')
    .map(line => line.slice(line.lastIndexOf(' ') + 1))
  assert.deepEqual([...new Set(words)], ['first', 'second', 'last'])
  await daemon.mustDocker(['rm', '-f', 'sends'])
  await sink[Symbol.asyncDispose]()
}

/** A server that has all, and has said so of nothing. */
const silent = new WeakMap<TestDaemon, ForwardSink>()

const listenInSilence = async (daemon: TestDaemon): Promise<void> => {
  silent.set(daemon, await ForwardSink.start(daemon.namespace, { address: 24_224, silent: true }))
}

/** Nothing that was not acknowledged is lost. */
const isAcknowledged = async (daemon: TestDaemon): Promise<void> => {
  await silent.get(daemon)?.[Symbol.asyncDispose]()
  await using sink = await ForwardSink.start(daemon.namespace, { address: 24_224 })
  await until('the last line came', () => sink.logs.includes('last'))
  assert.deepEqual([...new Set(sink.logs)], ['first', 'second', 'last'])
  await daemon.mustDocker(['rm', '-f', 'sends'])
}

export const deliveryVerbs: Verb[] = [
  {
    name: 'delivering a log that is to be acknowledged',
    points: ['delivery.unacknowledged'],
    prepare: listenInSilence,
    run: daemon =>
      daemon.docker([
        ...['run', '-d', '--name', 'sends', '--log-driver=fluentd', '--log-opt', 'fluentd-request-ack=true'],
        ...['busybox', 'sh', '-c', 'echo first; echo second; sleep 1; echo last; exec sleep 1000'],
      ]),
    check: isAcknowledged,
  },
  {
    name: 'delivering a log',
    points: ['delivery.sent', 'delivery.recorded'],
    prepare: listen,
    run: daemon =>
      daemon.docker([
        ...['run', '-d', '--name', 'sends', '--log-driver=syslog'],
        ...['--log-opt', 'syslog-address=tcp://127.0.0.1:5514', 'busybox', 'sh', '-c'],
        'echo first; echo second; sleep 1; echo last; exec sleep 1000',
      ]),
    check: isDelivered,
  },
]
