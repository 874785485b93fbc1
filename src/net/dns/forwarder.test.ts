import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { addressAnswer, emptyAnswer } from './compose.ts'
import { type Exchange, exchange } from './exchange.ts'
import { Forwarder } from './forwarder.ts'
import { type Answer, foldCase, parseAnswer, parseQuery, type Query, rcode } from './message.ts'
import { address, query, type Reaction, reply, soa, Upstream } from './testing/packets.ts'
import { parseUpstream } from './upstreams.ts'

const never = 1e9
const parsed = (name: string): Query => {
  const result = parseQuery(query(name))
  assert.ok('query' in result)
  return result.query
}

const answerOf = (name: string, reaction: Reaction): Answer => {
  const question = foldCase(parsed(name).question.bytes)
  const answer = parseAnswer(reply(query(name), reaction), { id: 7, question })
  assert.ok(answer)
  return answer
}

const ttlOf = ({ body, records: [first] }: Answer): number => body.readUInt32BE(first?.ttlAt ?? 0)

interface Setting {
  react(upstream: string, count: number): Answer | Promise<Answer>
  stagger?: number
  deadline?: number
  mostPerContainer?: number
}

/** A forwarder whose clock and upstream servers the test plays. */
const stand = ({ react, stagger = never, deadline = never, mostPerContainer = 100 }: Setting) => {
  const clock = { now: 0 }
  const asked: string[] = []
  const play: Exchange = async upstream => {
    asked.push(upstream)
    return react(upstream, asked.length)
  }
  const forwarder = new Forwarder({
    exchange: play,
    now: () => clock.now,
    times: { stagger, denial: never, deadline },
    cacheBytes: 10_000,
    mostPerContainer,
    mostAtOnce: 100,
  })
  const ask = (name: string, upstreams = ['one', 'two']) =>
    forwarder.ask(parsed(name), { containerId: 'c', upstreams, transport: 'udp' })
  return { clock, asked, ask }
}

const silence = new Promise<Answer>(() => {})
const good = addressAnswer(['192.0.2.1'])

describe('forwarding', () => {
  test('the listed order holds while all are well; a failure is passed over at once, and then avoided', async () => {
    const { asked, ask } = stand({
      react: upstream => (upstream === 'one' ? emptyAnswer(rcode.servFail) : good),
    })
    assert.equal((await ask('a.test')).rcode, rcode.noError)
    assert.deepEqual(asked.splice(0), ['one', 'two'])
    await ask('b.test')
    assert.deepEqual(asked, ['two'])
  })

  test('a dead server costs the first question alone, and is tried again beside a real one', async () => {
    let dead = true
    const setting = { react: (upstream: string) => (upstream === 'one' && dead ? silence : good), stagger: 0 }
    const { asked, ask, clock } = stand(setting)
    await ask('a.test')
    assert.deepEqual(asked.splice(0), ['one', 'two'])
    await ask('b.test')
    assert.deepEqual(asked.splice(0), ['two'])
    dead = false
    clock.now = 1001
    await ask('c.test')
    assert.deepEqual(asked.splice(0), ['one', 'two'])
    await ask('d.test')
    assert.equal(asked[0], 'one')
  })

  test('a denial waits for a server before it', async () => {
    const first = Promise.withResolvers<Answer>()
    const denial = answerOf('a.test', { rcode: 3, authorities: [soa('test', 60)] })
    const { asked, ask } = stand({
      react: upstream => (upstream === 'one' ? first.promise : denial),
      stagger: 0,
    })
    const answer = ask('a.test')
    while (asked.length < 2) await new Promise(resolve => setImmediate(resolve))
    first.resolve(good)
    assert.equal((await answer).rcode, rcode.noError)
  })

  test('the same question is asked once at a time, and kept with its age', async () => {
    const held = Promise.withResolvers<Answer>()
    const { asked, ask, clock } = stand({ react: () => held.promise, mostPerContainer: 2 })
    const both = Promise.all([ask('a.test'), ask('A.test')])
    assert.equal((await ask('a.test')).rcode, rcode.servFail)
    held.resolve(good)
    assert.deepEqual((await both).map(ttlOf), [600, 600])
    clock.now = 100_000
    assert.equal(ttlOf(await ask('a.test')), 500)
    assert.deepEqual(asked, ['one'])
    await ask('a.test', ['other'])
    assert.deepEqual(asked, ['one', 'other'])
  })

  test('what ended lately is given only where nobody answers', async () => {
    const { ask, clock } = stand({ react: (_, count) => (count === 1 ? good : emptyAnswer(rcode.servFail)) })
    await ask('a.test')
    clock.now = 600_000
    assert.equal(ttlOf(await ask('a.test')), 30)
    clock.now = 660_001
    assert.equal((await ask('a.test')).rcode, rcode.servFail)
  })

  test('a denial is kept by its SOA, and not at all without one', async () => {
    const denial = answerOf('a.test', { rcode: 3, authorities: [soa('test', 60)] })
    const { asked, ask, clock } = stand({
      react: (_, count) => (count < 3 ? denial : emptyAnswer(rcode.nxDomain)),
    })
    for (const now of [0, 59_999, 60_000, 120_000, 120_000]) {
      clock.now = now
      assert.equal((await ask('a.test')).rcode, rcode.nxDomain)
    }
    assert.equal(asked.length, 4)
  })

  test('the cache is bounded: what was used longest ago is asked again', async () => {
    const { asked, ask } = stand({ react: () => good })
    for (let i = 0; i < 40; i++) {
      await ask(`n${i}.test`)
      await ask('n0.test')
    }
    assert.equal(asked.length, 40)
    await ask('n1.test')
    assert.equal(asked.length, 41)
  })

  test('without servers, or with none but ourselves, nobody is asked', async () => {
    const { asked, ask } = stand({ react: () => good })
    assert.equal((await ask('a.test', [])).rcode, rcode.servFail)
    assert.equal((await ask('a.test', ['127.0.0.11'])).rcode, rcode.servFail)
    assert.deepEqual(asked, [])
  })

  test('silence of all ends with SERVFAIL', async () => {
    const { asked, ask } = stand({ react: () => silence, stagger: 0, deadline: 50 })
    assert.equal((await ask('a.test')).rcode, rcode.servFail)
    assert.deepEqual(asked, ['one', 'two'])
  })
})

describe('an exchange', () => {
  const asked = { question: foldCase(parsed('a.test').question.bytes), flags: 0x0100, dnssec: false }
  const how = { transport: 'udp' as const, signal: AbortSignal.timeout(20_000) }

  test('asks over TCP what came truncated', async () => {
    await using upstream = new Upstream((_, transport) => [
      transport === 'udp' ? { flags: 0x0200 } : { answers: [address('a.test', '192.0.2.9')] },
    ])
    const answer = await exchange(await upstream.start(), asked, how)
    assert.deepEqual([answer.truncated, answer.records.length], [false, 1])
    assert.deepEqual(upstream.asked, ['udp a.test', 'tcp a.test'])
  })

  test('fails at once where nobody listens', async () => {
    const upstream = new Upstream(() => [])
    const at = await upstream.start()
    await upstream[Symbol.asyncDispose]()
    await assert.rejects(exchange(at, asked, how), { code: 'ECONNREFUSED' })
  })

  test('takes addresses as resolv.conf and options have them', () => {
    assert.deepEqual(parseUpstream('10.0.0.53'), { address: '10.0.0.53', port: 53 })
    assert.deepEqual(parseUpstream('10.0.0.53:5353'), { address: '10.0.0.53', port: 5353 })
    assert.deepEqual(parseUpstream('fd00::53'), { address: 'fd00::53', port: 53 })
    assert.deepEqual(parseUpstream('[fd00::53]:5353'), { address: 'fd00::53', port: 5353 })
    assert.equal(parseUpstream('dns.example:53'), undefined)
  })
})
