import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fluentd } from './fluentd.ts'

test('addresses that there are', () => {
  const addresses = [
    '',
    'a',
    'a:1',
    ':1',
    'tcp://a',
    'tls://a:2',
    'unix:///run/x',
    '[::1]:24224',
    'tcp://[::1]',
  ]
  for (const address of addresses) fluentd.check({ 'fluentd-address': address })
})

test('what each option may be', () => {
  fluentd.check({
    ...{ 'fluentd-async': 'true', 'fluentd-async-reconnect-interval': '500ms', 'fluentd-buffer-limit': '2m' },
    ...{ 'fluentd-max-retries': '3', 'fluentd-request-ack': '1', 'fluentd-retry-wait': '1.5s' },
    ...{ 'fluentd-sub-second-precision': 't', 'fluentd-write-timeout': '0s', 'fluentd-read-timeout': '3s' },
    ...{ labels: 'a', 'labels-regex': '^a', env: 'b', 'env-regex': '^b', tag: '{{.Name}}' },
  })
  const refused: [string, string, RegExp][] = [
    ['nonsense', '', /^unknown log opt 'nonsense' for fluentd log driver$/],
    ['fluentd-address', 'udp://a:1', /^invalid fluentd-address \(udp:\/\/a:1\): unsupported scheme: 'udp'$/],
    ['fluentd-address', 'unix:///', /path is empty/],
    ['fluentd-address', 'a:1:2', /invalid port/],
    ['fluentd-address', 'a:65536', /invalid port/],
    ['fluentd-buffer-limit', 'much', /invalid size: 'much'/],
    ['fluentd-retry-wait', 'soon', /fluentd-retry-wait: value must be a duration/],
    ['fluentd-max-retries', '-1', /parsing "-1": invalid syntax/],
    ['fluentd-max-retries', '4294967295', /fluentd-max-retries: value out of range/],
    ['fluentd-async', 'maybe', /strconv.ParseBool: parsing "maybe": invalid syntax/],
    ['fluentd-request-ack', 'x', /ParseBool/],
    ['fluentd-sub-second-precision', 'x', /ParseBool/],
    ['fluentd-async-reconnect-interval', '1h', /must be between 100ms and 10s/],
    ['fluentd-write-timeout', '-1s', /value must be a duration that is non-negative/],
    ['fluentd-read-timeout', 'x', /fluentd-read-timeout: value must be a duration/],
  ]
  for (const [key, value, words] of refused)
    assert.throws(() => fluentd.check({ [key]: value }), { status: 400, message: words }, `${key}=${value}`)
})
