import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createNamespace, removeNamespace } from '../../linux/namespace.ts'
import { NetlinkSocket, protocols } from '../../linux/netlink.ts'
import { setLink } from '../../linux/rtnetlink.ts'
import { onStage, runOnStage, setStage } from '../testing/stage.ts'
import { framed } from './framing.ts'
import { openNameServers } from './servers.ts'
import { address, datas, decode, query, type Reaction, Upstream } from './testing/packets.ts'
import { ask, askOver, askUntil, client, connection, Keeper } from './testing/sandbox.ts'

/** Name servers that fail, and askers that do not behave: nobody else waits for either. */

const good = (name: string): Reaction => ({ answers: [address(name, '198.51.100.7')] })
const silent: Reaction = { silent: true }
/** Of a server that was not answering: it is sent a real question now and then, on a slow machine some more. */
const nowAndThen = 100

/** Waits for what a server notices by itself. */
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 20))
}

const suite = () => {
  let folder = ''
  const keeper = new Keeper()
  const upstreamsOf = new Map<string, string[]>()
  /** Own names that were looked up. */
  let lookups = 0
  const many = Array.from({ length: 100 }, (_, i) => `10.0.0.${i + 1}`)

  const open = () =>
    openNameServers({
      keeper,
      sandbox: id => path.join(folder, id),
      names: id => ({
        addresses: name => {
          lookups++
          return { web: ['172.30.1.2'], many }[name]
        },
        nameOf: () => undefined,
        upstreams: () => upstreamsOf.get(id) ?? [],
      }),
    })

  /** Serves sandboxes with these upstream servers each, for as long as the test runs. */
  const serving = async (sandboxes: Record<string, string[]>, use: (...pins: string[]) => Promise<void>) => {
    await using servers = open()
    const ids = Object.keys(sandboxes)
    try {
      for (const id of ids) {
        createNamespace(path.join(folder, id), () => {
          using routes = new NetlinkSocket(protocols.route)
          routes.batch([setLink('lo', { up: true })])
        })
        upstreamsOf.set(id, sandboxes[id] ?? [])
        await servers.open(id)
      }
      await use(...ids.map(id => path.join(folder, id)))
    } finally {
      for (const id of ids) {
        await servers.close(id)
        removeNamespace(path.join(folder, id))
      }
    }
  }

  before(async () => {
    folder = path.dirname((await setStage()).other)
  })
  after(() => assert.deepEqual([...keeper.kept.keys()], []))

  const names = Array.from({ length: 200 }, (_, i) => `n${i}.test`)

  /** Asks each name once, so many at a time; gives those that were not answered well. */
  const askAll = async (pin: string, width: number): Promise<string[]> => {
    const left = [...names]
    const lost: string[] = []
    const lane = async (): Promise<void> => {
      for (let name = left.shift(); name; name = left.shift())
        if (datas(await ask(pin, query(name)))[0] !== '198.51.100.7') lost.push(name)
    }
    await Promise.all(Array.from({ length: width }, lane))
    return lost
  }

  for (const width of [1, 16])
    test(`200 names, ${width} at a time, beside a server that drops all: none is lost or waits for it`, async () => {
      await using dead = new Upstream(() => [silent])
      await using live = new Upstream(name => [good(name)])
      await serving({ c: [await dead.start(), await live.start()] }, async pin => {
        assert.deepEqual(await askAll(pin, width), [])
        assert.deepEqual(new Set(live.asked), new Set(names.map(name => `udp ${name}`)))
        assert.ok(dead.asked.length > 0 && dead.asked.length < nowAndThen, `${dead.asked.length}`)
      })
    })

  test('a server that falls silent between two names is passed over from then on', async () => {
    await using first = new Upstream(name => [first.asked.length <= 100 ? good(name) : silent])
    await using second = new Upstream(name => [good(name)])
    await serving({ c: [await first.start(), await second.start()] }, async pin => {
      assert.deepEqual(await askAll(pin, 1), [])
      assert.ok(first.asked.length >= 101 && first.asked.length < 100 + nowAndThen, `${first.asked.length}`)
      for (const name of names.slice(100)) assert.ok(second.asked.includes(`udp ${name}`), name)
    })
  })

  for (const [code, rcode] of [
    ['SERVFAIL', 2],
    ['REFUSED', 5],
  ] as const)
    test(`${code} of a server is answered by the next one, and told where there is no other`, async () => {
      await using failing = new Upstream(() => [{ rcode }])
      await using live = new Upstream(name => [good(name)])
      const at = await failing.start()
      await serving({ both: [at, await live.start()], alone: [at] }, async (both = '', alone = '') => {
        assert.equal(decode(await ask(alone, query('alone.test'))).rcode, code)
        failing.asked.length = 0
        assert.deepEqual(await askAll(both, 4), [])
        assert.ok(failing.asked.length < nowAndThen, `${failing.asked.length}`)
      })
    })

  const refusals: [string, Reaction][] = [
    ['with the question', { rcode: 1 }],
    ['with a bare header', { rcode: 1, questions: [] }],
  ]
  for (const [form, refusal] of refusals)
    test(`a server that knows no EDNS and says so ${form} is asked without`, async () => {
      const seen: boolean[] = []
      await using old = new Upstream((name, _, { additionals = [] }) => {
        seen.push(additionals.length > 0)
        return [additionals.length > 0 ? refusal : good(name)]
      })
      await serving({ c: [await old.start()] }, async pin => {
        assert.deepEqual(datas(await ask(pin, query('old.test', { size: 1232 }))), ['198.51.100.7'])
        assert.deepEqual(seen, [true, false])
      })
    })

  const big = (name: string): Reaction => ({ answers: many.map(each => address(name, each)) })
  const cut = (name: string): Reaction => ({ flags: 0x0200, answers: [address(name, '10.0.0.1')] })

  test('a truncated answer is fetched over TCP, cut for who asks over UDP, and whole over TCP', async () => {
    await using upstream = new Upstream((name, transport) => [transport === 'udp' ? cut(name) : big(name)])
    await serving({ c: [await upstream.start()] }, async pin => {
      const short = await ask(pin, query('big.test'))
      assert.ok(decode(short).flag_tc && short.length <= 512 && datas(short).length >= 20)
      const over = connection(pin)
      const whole = await askOver(over, query('big.test'))
      assert.ok(whole && !decode(whole).flag_tc)
      assert.deepEqual(datas(whole), many)
      over.destroy()
      assert.deepEqual(upstream.asked, ['udp big.test', 'tcp big.test'])
    })
  })

  for (const [what, options] of [
    ['takes no TCP', { streams: false }],
    ['answers nothing over TCP', { streams: true }],
  ] as const)
    test(`of a server that ${what} the truncated answer is passed on as such`, async () => {
      await using upstream = new Upstream((name, via) => (via === 'udp' ? [cut(name)] : [silent]), options)
      await serving({ c: [await upstream.start()] }, async pin => {
        const short = decode(await ask(pin, query('big.test')))
        assert.deepEqual([short.rcode, short.flag_tc], ['NOERROR', true])
      })
    })

  test('connections have a limit, beyond which others are closed; a place that is left can be taken', async () => {
    await serving({ c: [] }, async pin => {
      const served = Array.from({ length: 32 }, () => connection(pin))
      for (const each of served) assert.ok(await askOver(each, query('web')))
      const beyond = Array.from({ length: 50 }, () => connection(pin))
      assert.deepEqual(
        new Set(await Promise.all(beyond.map(each => askOver(each, query('web'))))),
        new Set([undefined]),
      )
      assert.deepEqual(datas(await ask(pin, query('web'))), ['172.30.1.2'])
      served.shift()?.destroy()
      await until(async () => {
        const another = connection(pin)
        const answer = await askOver(another, query('web'))
        served.push(another)
        return answer !== undefined
      })
      for (const each of served) each.destroy()
    })
  })

  test('a connection that says nothing, half a message, or never reads is ended, and holds up nobody', async () => {
    await serving({ c: [] }, async pin => {
      const [idle, half, deaf] = [connection(pin), connection(pin), connection(pin)]
      const ended = Promise.all(
        [idle, half, deaf].map(each => new Promise(resolve => each.once('close', resolve))),
      )
      idle.resume()
      half.resume()
      half.write(framed(query('web')).subarray(0, 9))
      const before = lookups
      // More than all buffers of the kernel hold: its end shows by what cannot be written.
      const asked = 1_000_000
      deaf.write(Buffer.alloc(asked * framed(query('many')).length, framed(query('many'))))
      assert.deepEqual(datas(await ask(pin, query('web'))), ['172.30.1.2'])
      await ended
      assert.ok(lookups - before < asked, `${lookups - before} were answered to who reads none`)
      assert.deepEqual(datas(await ask(pin, query('web'))), ['172.30.1.2'])
    })
  })

  test('who asks many names that nobody answers, and never reads, is refused more; others are answered', async () => {
    await using upstream = new Upstream(name => [name.startsWith('mute') ? silent : good(name)])
    const at = await upstream.start()
    await serving({ flood: [at], calm: [at] }, async (flood = '', calm = '') => {
      const from = await client(flood)
      for (let i = 0; i < 2000; i++)
        await new Promise(resolve => from.send(query(`mute${i}.test`), 53, '127.0.0.11', resolve))
      assert.equal(decode(await askUntil(flood, query('more.test'))).rcode, 'SERVFAIL')
      assert.deepEqual(datas(await askUntil(flood, query('web'))), ['172.30.1.2'])
      assert.deepEqual(datas(await ask(calm, query('calm.test'))), ['198.51.100.7'])
      assert.equal(new Set(upstream.asked.filter(each => each.startsWith('udp mute'))).size, 256)
      from.close()
      await until(async () => datas(await askUntil(flood, query('later.test'))).length === 1)
    })
  })
}

if (onStage) suite()
else
  describe('name servers and askers that do not behave', () => {
    test('hold up nobody else, on a stage of their own', () => runOnStage(import.meta.filename))
  })
