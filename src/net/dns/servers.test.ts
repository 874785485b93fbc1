import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { createNamespace, removeNamespace } from '../../linux/namespace.ts'
import { NetlinkSocket, protocols } from '../../linux/netlink.ts'
import { setLink } from '../../linux/rtnetlink.ts'
import { onStage, runOnStage, setStage } from '../testing/stage.ts'
import { framed } from './framing.ts'
import { openNameServers } from './servers.ts'
import { address, datas, decode, query, type Reaction, Upstream } from './testing/packets.ts'
import { ask, client, Keeper } from './testing/sandbox.ts'
import type { ContainerNames, NameServers } from './types.ts'

/** The file that arms fail points of this process. */
const armed = (): string => process.env['BERTH_FAILPOINTS']?.slice(1) ?? ''

/** The sockets that this process holds. */
const descriptors = (): string[] =>
  fs
    .readdirSync('/proc/self/fd')
    .flatMap(fd => {
      try {
        return [fs.readlinkSync(`/proc/self/fd/${fd}`)]
      } catch {
        return []
      }
    })
    .filter(target => target.startsWith('socket:'))
    .sort()

/** Runs a command in a namespace while this process serves. */
const run = async (pin: string, ...command: string[]): Promise<string> =>
  (await promisify(execFile)('nsenter', [`--net=${pin}`, ...command], { timeout: 30_000 })).stdout

const suite = () => {
  let folder = ''
  const keeper = new Keeper()
  const names = new Map<string, ContainerNames>()
  const pinOf = (id: string): string => path.join(folder, id)

  const open = (): NameServers => openNameServers({ keeper, sandbox: pinOf, names: id => names.get(id) })

  const sandbox = (id: string, upstreams: string[] = []): string => {
    createNamespace(pinOf(id), () => {
      using routes = new NetlinkSocket(protocols.route)
      routes.batch([setLink('lo', { up: true })])
    })
    const known: Record<string, string[]> = {
      web: ['172.30.1.2', '172.30.1.3'],
      many: Array.from({ length: 100 }, (_, i) => `10.0.0.${i + 1}`),
    }
    names.set(id, {
      addresses: name => known[name],
      nameOf: asked => (asked === '172.30.1.2' ? 'web.front' : undefined),
      upstreams: () => upstreams,
    })
    return pinOf(id)
  }

  const take = async (servers: NameServers, id: string): Promise<void> => {
    await servers.close(id)
    removeNamespace(pinOf(id))
    names.delete(id)
  }

  before(async () => {
    const stage = await setStage()
    folder = path.dirname(stage.other)
  })
  after(() => assert.deepEqual([...keeper.kept.keys()], []))

  test('names, case, types and reverse are answered in the sandbox', async () => {
    await using servers = open()
    const pin = sandbox('own')
    await servers.open('own')
    const answer = decode(await ask(pin, query('WeB')))
    assert.equal(answer.questions?.[0]?.name, 'WeB')
    assert.deepEqual(
      answer.answers?.map(each => each.type === 'A' && [each.name, each.data, each.ttl]),
      [
        ['WeB', '172.30.1.2', 600],
        ['WeB', '172.30.1.3', 600],
      ],
    )
    for (const type of ['AAAA', 'MX', 'TXT']) {
      const empty = decode(await ask(pin, query('web', { type })))
      assert.deepEqual([empty.rcode, empty.answers], ['NOERROR', []])
    }
    assert.deepEqual(datas(await ask(pin, query('2.1.30.172.in-addr.arpa', { type: 'PTR' }))), ['web.front'])
    assert.equal(decode(await ask(pin, query('elsewhere'))).rcode, 'SERVFAIL')
    names.delete('own')
    assert.equal(decode(await ask(pin, query('web'))).rcode, 'REFUSED')
    await take(servers, 'own')
  })

  test('answers are cut to what the asker takes, and whole over TCP', async () => {
    await using servers = open()
    const pin = sandbox('long')
    await servers.open('long')
    const cut = await ask(pin, query('many'))
    assert.ok(cut.length <= 512 && decode(cut).flag_tc && datas(cut).length > 20)
    const whole = await ask(pin, query('many', { size: 4096 }))
    assert.equal(decode(whole).flag_tc, false)
    assert.equal(datas(whole).length, 100)
    assert.equal(decode(whole).additionals?.[0]?.type, 'OPT')
    const stream = Buffer.concat([0, 1].map(id => framed(query('many', { id }))))
    const octal = [...stream].map(byte => `\\0${byte.toString(8)}`).join('')
    // The client ends its side at once: both answers come all the same.
    const seen = await run(pin, 'busybox', 'sh', '-c', `printf '%b' '${octal}' | nc 127.0.0.11 53 | wc -c`)
    assert.equal(Number(seen), 2 * (2 + 12 + 10 + 100 * 16))
    await take(servers, 'long')
  })

  test("a real resolver finds names, beside the container's own server on port 53", async () => {
    await using servers = open()
    const pin = sandbox('real')
    const own = await client(pin, 53)
    own.on('message', (_, from) => own.send('own server', from.port, from.address))
    await servers.open('real')
    const seen = await run(pin, 'busybox', 'nslookup', 'web', '127.0.0.11')
    assert.match(seen, /172\.30\.1\.2/)
    const file = path.join(folder, 'resolv.conf')
    fs.writeFileSync(file, 'nameserver 127.0.0.11\noptions ndots:0\n')
    const found = ['sh', '-c', `mount --bind ${file} /etc/resolv.conf && getent hosts web`]
    assert.match(await run(pin, 'unshare', '--mount', ...found), /172\.30\.1\.3/)
    // The container's own firewall sees a conversation with port 53, whole.
    await run(
      pin,
      'nft',
      `add table ip own; add chain ip own in { type filter hook input priority 0; policy drop; }
       add rule ip own in udp dport 53 ct state new accept; add rule ip own in udp sport 53 ct state established accept`,
    )
    assert.equal(datas(await ask(pin, query('web'))).length, 2)
    await run(pin, 'nft', 'delete table ip own')
    const from = await client(pin)
    const heard = new Promise(resolve => from.once('message', bytes => resolve(String(bytes))))
    from.send('hello', 53, '127.0.0.1')
    assert.equal(await heard, 'own server')
    from.close()
    own.close()
    await take(servers, 'real')
  })

  test('what waits in the sockets while no daemon runs is answered by the next one', async () => {
    const first = open()
    const pin = sandbox('kept')
    await first.open('kept')
    await first[Symbol.asyncDispose]()
    const from = await client(pin)
    const heard = new Promise<Buffer>(resolve => from.once('message', resolve))
    await new Promise(resolve => from.send(query('web'), 53, '127.0.0.11', resolve))
    await keeper.keep('dns:gone:udp:1', fs.openSync('/dev/null', 'r'))
    await using second = open()
    assert.deepEqual(await second.adopt(['kept']), ['dropped dns:gone:udp:1, which belongs to no container'])
    assert.equal(datas(await heard).length, 2)
    from.close()
    const [lost = ''] = [...keeper.kept.keys()]
    await second[Symbol.asyncDispose]()
    await keeper.drop(lost)
    await using third = open()
    assert.deepEqual(await third.adopt(['kept']), ['opened again the name server of kept'])
    assert.equal(datas(await ask(pin, query('web'))).length, 2)
    for (const name of await keeper.names()) await keeper.drop(name)
    await third.keepAgain()
    assert.equal((await keeper.names()).length, 2)
    await take(third, 'kept')
  })

  test('the rest is asked upstream; spoofed answers are not believed; an internal network asks nobody', async () => {
    const good: Reaction = { answers: [address('example.com', '198.51.100.7')] }
    const spoofed: Reaction = {
      answers: [address('example.com', '6.6.6.6')],
      spoil: bytes => bytes.writeUInt16BE((bytes.readUInt16BE(0) + 1) & 0xffff, 0),
    }
    const other: Reaction = { ...good, questions: [{ name: 'evil.com', type: 'A' }] }
    await using upstream = new Upstream(() => [spoofed, other, good])
    const at = await upstream.start()
    await using servers = open()
    const pin = sandbox('out', [at])
    const internal = sandbox('internal')
    await servers.open('out')
    await servers.open('internal')
    assert.equal(decode(await ask(internal, query('Example.com'))).rcode, 'SERVFAIL')
    assert.deepEqual(upstream.asked, [])
    assert.deepEqual(datas(await ask(pin, query('Example.com'))), ['198.51.100.7'])
    assert.deepEqual(datas(await ask(pin, query('example.COM'))), ['198.51.100.7'])
    assert.deepEqual(upstream.asked, ['udp example.com'])
    await take(servers, 'out')
    await take(servers, 'internal')
  })

  for (const point of ['net.dns.sockets', 'net.dns.half', 'net.dns.kept', 'net.dns.served'])
    test(`an error at ${point} leaves nothing, and the next attempt serves`, async () => {
      const pin = sandbox('undone')
      const before = descriptors()
      await using servers = open()
      fs.writeFileSync(armed(), `${point}=error`)
      await assert.rejects(servers.open('undone'), /fail point/)
      fs.writeFileSync(armed(), '')
      assert.deepEqual([...keeper.kept.keys()], [])
      assert.deepEqual(descriptors(), before)
      await servers.open('undone')
      assert.equal(datas(await ask(pin, query('web'))).length, 2)
      await take(servers, 'undone')
    })

  test('a hundred sandboxes at once', async () => {
    await using servers = open()
    const ids = Array.from({ length: 100 }, (_, i) => `c${i}`)
    for (const id of ids) sandbox(id)
    await Promise.all(ids.map(id => servers.open(id)))
    const all = await Promise.all(ids.map(async id => datas(await ask(pinOf(id), query('web')))))
    assert.ok(all.every(each => each.length === 2))
    for (const id of ids) await take(servers, id)
  })
}

if (onStage) suite()
else
  describe('name servers in namespaces', () => {
    test('hold on a stage of their own', () => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-dns-'))
      process.env['BERTH_FAILPOINTS'] = `@${folder}/armed`
      try {
        runOnStage(import.meta.filename)
      } finally {
        fs.rmSync(folder, { recursive: true, force: true })
      }
    })
  })
