import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { type ModelContainer, NetworkModel } from './harness/networkModel.ts'
import { joinOtherHost, type OtherHost } from './harness/otherHost.ts'
import { newRandom, type Random } from './harness/random.ts'
import { page, resolved } from './harness/reach.ts'
import { patience, until } from './harness/shell.ts'

/**
 * Containers come and go on networks, publish ports and let go of them, while the daemon is killed now and then. After
 * each step real packets say who reaches whom, and a model says who may.
 */
const steps = Number(process.env['BERTH_TEST_STEPS'] ?? 1000)
const networks = [
  { name: 'blue', icc: true, internal: false },
  { name: 'inner', icc: true, internal: true },
  { name: 'quiet', icc: false, internal: false },
  { name: 'red', icc: true, internal: false },
]
const containers = ['c0', 'c1', 'c2', 'c3', 'c4']
const ports = [7001, 7002, 7003]
/** How long silence is waited for, in milliseconds: what is forbidden gets no answer, however long. */
const silence = 100
const hostAddress = '10.99.0.1'

interface Inspected {
  State: { Running: boolean; Pid: number }
  HostConfig: { PortBindings?: Record<string, { HostPort: string }[]> }
  NetworkSettings: { Networks: Record<string, { IPAddress: string }> }
}

/** A question that packets ask, and whether the model says that it is answered. */
interface Probe {
  what: string
  expected: boolean
  ask: (patience: number) => Promise<boolean>
}

class Walk {
  readonly model = new NetworkModel(networks)
  readonly #daemon: TestDaemon
  readonly #random: Random
  readonly #outside: OtherHost
  readonly trail: string[] = []

  constructor(daemon: TestDaemon, random: Random, outside: OtherHost) {
    this.#daemon = daemon
    this.#random = random
    this.#outside = outside
  }

  async prepare(): Promise<void> {
    for (const { name, icc, internal } of networks)
      await this.#daemon.mustDocker([
        ...['network', 'create', '-o', `com.docker.network.bridge.enable_icc=${icc}`],
        ...(internal ? ['--internal', name] : [name]),
      ])
    for (const name of containers) await this.#create(name)
  }

  async #create(name: string): Promise<void> {
    const taken = new Set([...this.model.containers.values()].map(({ hostPort }) => hostPort))
    const free = ports.filter(port => !taken.has(port))
    const hostPort = this.#random.below(2) === 0 ? free[0] : undefined
    const network = this.#random.pick(networks).name
    await this.#daemon.json('POST', `/containers/create?name=${name}`, {
      ...{
        Image: 'busybox',
        Hostname: name,
        Cmd: ['sh', '-c', 'hostname >/tmp/index.html; exec httpd -f -h /tmp'],
      },
      HostConfig: {
        NetworkMode: network,
        ...(hostPort ? { PortBindings: { '80/tcp': [{ HostPort: String(hostPort) }] } } : {}),
      },
    })
    this.model.containers.set(name, {
      ...{ name, running: false, networks: [network] },
      ...(hostPort ? { hostPort } : {}),
    })
  }

  /** One change, in the daemon and in the model. Gives the container that it is about. */
  async step(): Promise<string> {
    const container = this.model.container(this.#random.pick(containers))
    const verb = this.#random.pick([
      'connect',
      'connect',
      'disconnect',
      'start',
      'start',
      'stop',
      'recreate',
      'kill',
    ])
    if (verb === 'kill') {
      // Kills take most of the time, and one in three is enough.
      if (this.#random.below(3) === 0) await this.#kill(container)
      return container.name
    }
    this.trail.push(`${verb} ${container.name}`)
    await this.#change(verb, container)
    return container.name
  }

  async #change(verb: string, container: ModelContainer): Promise<void> {
    const { name } = container
    const api = (path: string, body?: unknown) => this.#daemon.json('POST', path, body)
    if (verb === 'start') {
      await api(`/containers/${name}/start`)
      container.running = true
    } else if (verb === 'stop') {
      await api(`/containers/${name}/stop?t=0`)
      container.running = false
    } else if (verb === 'recreate') {
      await this.#daemon.json('DELETE', `/containers/${name}?force=1`)
      this.model.containers.delete(name)
      await this.#create(name)
    } else if (verb === 'connect') {
      const network = this.#random.pick(networks).name
      if (container.networks.includes(network)) return
      await api(`/networks/${network}/connect`, { Container: name })
      container.networks.push(network)
    } else if (container.networks.length > 1) {
      const network = this.#random.pick(container.networks)
      await api(`/networks/${network}/disconnect`, { Container: name })
      container.networks.splice(container.networks.indexOf(network), 1)
    }
  }

  /** The daemon dies, every other time in the middle of a change: then either side of it is true. */
  async #kill(container: ModelContainer): Promise<void> {
    const during = this.#random.below(2) === 0
    const verb = this.#random.pick(['connect', 'disconnect', 'start', 'stop'])
    this.trail.push(during ? `kill during ${verb} ${container.name}` : 'kill')
    const change = during ? this.#change(verb, container).catch(() => {}) : undefined
    if (during) await sleep(this.#random.below(25))
    await this.#daemon.kill()
    await change
    await this.#daemon.start()
    await this.#learn(container)
  }

  /** What became of a container whose change nobody saw the end of. */
  async #learn(container: ModelContainer): Promise<void> {
    const { State, NetworkSettings } = await this.#inspect(container.name)
    container.running = State.Running
    const now = Object.keys(NetworkSettings.Networks)
    const before = container.networks.filter(name => now.includes(name))
    container.networks = [...before, ...now.filter(name => !before.includes(name))]
  }

  #inspect(name: string): Promise<Inspected> {
    return this.#daemon.json('GET', `/containers/${name}/json`)
  }

  /** Compares packets with the model, for all pairs, or those that a container is part of. */
  async check(about?: string): Promise<void> {
    const shown = new Map(
      await Promise.all(containers.map(async name => [name, await this.#inspect(name)] as const)),
    )
    for (const container of this.model.containers.values()) {
      const found = shown.get(container.name)
      assert.equal(found?.State.Running, container.running, `${container.name} runs`)
      assert.deepEqual(
        Object.keys(found?.NetworkSettings.Networks ?? {}).sort(),
        container.networks.toSorted(),
        container.name,
      )
    }
    const probes = this.#probes(shown, about)
    const wrong = await Promise.all(probes.map(probe => this.#try(probe)))
    assert.deepEqual(
      wrong.filter(text => text !== ''),
      [],
    )
  }

  async #try({ what, expected, ask }: Probe): Promise<string> {
    if (!expected) return (await ask(silence)) ? `${what} although it must not` : ''
    try {
      // The server of a container that has just started may not listen yet.
      await until(what, () => ask(2000), 20_000)
      return ''
    } catch {
      return `not: ${what}`
    }
  }

  #probes(shown: Map<string, Inspected>, about: string | undefined): Probe[] {
    const probes: Probe[] = []
    const add = (what: string, expected: boolean, ask: Probe['ask']): void => {
      probes.push({ what, expected, ask })
    }
    const namespace = (name: string): string => `/proc/${shown.get(name)?.State.Pid}/ns/net`
    const address = (name: string, network: string): string =>
      shown.get(name)?.NetworkSettings.Networks[network]?.IPAddress ?? ''
    const says = (from: string, to: ModelContainer, host: string, port: number) => async (limit: number) =>
      (await page(from, { host, port, patience: limit * patience })) === to.name
    for (const to of this.model.running) {
      for (const from of this.model.running) {
        if (about && about !== from.name && about !== to.name) continue
        const there = namespace(from.name)
        for (const network of to.networks)
          add(
            `${from.name} reaches ${to.name} on ${network}`,
            this.model.reaches(from, to, network),
            says(there, to, address(to.name, network), 80),
          )
        if (to.hostPort)
          add(
            `${from.name} reaches ${to.name} at ${to.hostPort}`,
            this.model.reachesPublished(from, to),
            says(there, to, hostAddress, to.hostPort),
          )
        const expected = this.model.shared(from, to).map(network => address(to.name, network))
        add(`${from.name} finds ${to.name}`, expected.length > 0, async limit => {
          const found = (await resolved(there, { name: to.name, patience: limit * patience })) ?? []
          return found.length > 0 && found.every(one => expected.includes(one))
        })
      }
      if (about && about !== to.name) continue
      const host = this.#daemon.namespace
      const other = this.#outside.namespace
      for (const network of to.networks) {
        add(`the host reaches ${to.name} on ${network}`, true, says(host, to, address(to.name, network), 80))
        add(
          `another host reaches ${to.name} on ${network}`,
          false,
          says(other, to, address(to.name, network), 80),
        )
      }
      if (to.hostPort === undefined) continue
      const answers = this.model.answersAt(to)
      add(`another host reaches ${to.name} at its port`, answers, says(other, to, hostAddress, to.hostPort))
      add(`the host reaches ${to.name} by loopback`, answers, says(host, to, '127.0.0.1', to.hostPort))
    }
    return probes
  }
}

test(`after each of ${steps} random steps who reaches whom is as the model says`, async context => {
  const random = newRandom()
  context.diagnostic(`seed ${random.seed}: repeat with BERTH_TEST_SEED=${random.seed}`)
  const daemon = await startDaemon()
  let outside: OtherHost | undefined
  try {
    outside = await joinOtherHost(daemon.name, { near: hostAddress, far: '10.99.0.2' })
    await daemon.loadBusybox()
    const walk = new Walk(daemon, random, outside)
    await walk.prepare()
    try {
      for (let step = 1; step <= steps; step++) {
        const about = await walk.step()
        await walk.check(step % 25 === 0 ? undefined : about)
      }
    } catch (error) {
      throw new Error(
        `seed ${random.seed}, after ${walk.trail.length}: ${walk.trail.slice(-12).join(', ')}`,
        {
          cause: error,
        },
      )
    }
    await audit(daemon, `seed ${random.seed}`)
  } finally {
    await outside?.close()
    await daemon.close()
  }
})
