import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DockerfileError } from './errors.ts'
import { readPorts } from './ports.ts'

const cases: [text: string, ports: string[]][] = [
  ['80', ['80/tcp']],
  ['80/UDP', ['80/udp']],
  ['80/', ['80/tcp']],
  ['80-82/sctp', ['80/sctp', '81/sctp', '82/sctp']],
  ['80-80', ['80/tcp']],
  ['0', ['0/tcp']],
  ['8080:80', ['80/tcp']],
  ['8080-8090:80', ['80/tcp']],
  ['1-2:3-4', ['3/tcp', '4/tcp']],
  ['127.0.0.1:8080:80', ['80/tcp']],
  ['127.0.0.1::80', ['80/tcp']],
  ['[::1]:8080:80', ['80/tcp']],
  ['::1:8080:80', ['80/tcp']],
]
for (const [text, ports] of cases)
  test(`${text} is ${ports.join(' ')}`, () => assert.deepEqual(readPorts(text), ports))

const wrong: [text: string, message: string][] = [
  ['', 'invalid port: "": no port specified'],
  ['/tcp', 'invalid port: "/tcp": no port specified'],
  ['80/x', 'invalid port: "80/x": invalid proto: x'],
  ['80/tcp/udp', 'invalid port: "80/tcp/udp": invalid proto: tcp/udp'],
  ['a', 'invalid containerPort: a'],
  ['-1', 'invalid containerPort: -1'],
  ['82-80', 'invalid containerPort: 82-80'],
  ['65536', 'invalid containerPort: 65536'],
  ['x:80', 'invalid hostPort: x'],
  ['1-3:80-81', 'invalid ranges specified for container and host Ports: 80-81 and 1-3'],
  ['1.2.3:1:80', 'invalid IP address: 1.2.3'],
  ['1.2.3.256:1:80', 'invalid IP address: 1.2.3.256'],
  ['[x]:1:80', 'invalid IP address: x'],
]
for (const [text, message] of wrong)
  test(`${text}: ${message}`, () =>
    assert.throws(
      () => readPorts(text),
      (error: unknown) => error instanceof DockerfileError && error.message === message,
    ))
