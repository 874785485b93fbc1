import assert from 'node:assert/strict'
import type { TestDaemon } from './daemon.ts'
import { must, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of published ports, for the crash tests: many of them are there together, or none is. */

const range = '20000-20999'
/** A run of ports that is one element, and a hundred that are one each. */
const many = ['-p', `${range}:${range}`, '-p', '31000-31099:1000-1099/udp']

const create = (daemon: TestDaemon): Promise<string> =>
  daemon.mustDocker(['create', '--name', 'many', ...many, 'busybox', 'sleep', '1000'])

const statusOf = async (daemon: TestDaemon): Promise<string> =>
  (await daemon.docker(['inspect', '-f', '{{.State.Status}}', 'many'])).stdout.trim()

/** All ports of the container are published, or none of them. */
const arePublished = async (daemon: TestDaemon, wanted: boolean): Promise<void> => {
  const rules = await must(['nsenter', `--net=${daemon.namespace}`, 'nft', 'list', 'ruleset'])
  assert.equal(rules.includes(`tcp . ${range}`), wanted)
  assert.equal([...rules.matchAll(/udp \. 310\d\d /g)].length, wanted ? 100 : 0)
}

const startsAndGoes = async (daemon: TestDaemon): Promise<void> => {
  if ((await statusOf(daemon)) === '') await create(daemon)
  await daemon.mustDocker(['start', 'many'])
  await arePublished(daemon, true)
  await daemon.mustDocker(['rm', '-f', 'many'])
  await arePublished(daemon, false)
}

const page = 'mkdir /w; echo page > /w/index.html; httpd -f -h /w'

const isServed = async (daemon: TestDaemon): Promise<void> => {
  const fetch = ['curl', '-s', '-m', '5', 'http://127.0.0.1:8095/']
  await until('the page is served', async () => (await daemon.onHost(fetch)).stdout === 'page\n')
}

export const portVerbs: Verb[] = [
  {
    name: 'start of one with many ports',
    points: [
      ...['net.connect.bound', 'net.connect.reserve', 'net.connect.inside', 'net.connect.publish'],
      ...['net.connect.flows', 'start.connected'],
    ],
    prepare: create,
    run: daemon => daemon.docker(['start', 'many']),
    check: async daemon => {
      await arePublished(daemon, (await statusOf(daemon)) === 'running')
      await startsAndGoes(daemon)
    },
  },
  {
    name: 'rm -f of one with many ports',
    points: ['net.disconnect.publish', 'net.disconnect.flows', 'net.disconnect.ports'],
    prepare: async daemon => {
      await create(daemon)
      await daemon.mustDocker(['start', 'many'])
    },
    run: daemon => daemon.docker(['rm', '-f', 'many']),
    check: async daemon => {
      await until('it is gone or runs no more', async () => (await statusOf(daemon)) !== 'running')
      await arePublished(daemon, false)
      await startsAndGoes(daemon)
    },
  },
  {
    name: 'another program takes all rules away',
    points: ['net.guard.restored'],
    prepare: async daemon => {
      await daemon.mustDocker([
        ...['run', '-d', '--name', 'web', '-p', '8095:80', 'busybox', 'sh', '-c', page],
      ])
      await isServed(daemon)
    },
    run: daemon => daemon.onHost(['nft', 'flush', 'ruleset']),
    check: async daemon => {
      await isServed(daemon)
      await daemon.mustDocker(['rm', '-f', 'web'])
    },
  },
]
