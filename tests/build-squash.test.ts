import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { inImage, makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** `docker build --squash`, which the real client asks for only where a daemon says that it is experimental. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon({ flags: ['--experimental'] })
  await daemon.loadBusybox()
})
after(() => daemon.close())

interface Inspected {
  Id: string
  RootFS: { Layers: string[] }
  Config: { Env: string[] }
}

const inspect = async (image: string): Promise<Inspected> =>
  JSON.parse(await daemon.mustDocker(['inspect', '-f', '{{json .}}', image]))

const squash = async (
  lines: string[],
  files: Record<string, string>,
  ...options: string[]
): Promise<string> => {
  const folder = makeContext(daemon, lines, files)
  const { code, stdout, stderr } = await daemon.docker(['build', '--squash', ...options, folder], {
    env: { DOCKER_BUILDKIT: '0' },
  })
  assert.equal(code, 0, stderr)
  return stdout
}

const history = async (image: string): Promise<{ Comment: string; CreatedBy: string; Size: number }[]> =>
  await daemon.json('GET', `/images/${image}/history`)

test('one layer holds what the build did over its base, and the other image stays', async () => {
  const lines = [
    'FROM busybox',
    'COPY large kept /',
    'RUN rm /large /bin/wc && chmod 600 /kept && mkdir /made && ln /kept /made/link',
    'ENV A=b',
    'RUN rm -r /made && mkdir /made && touch /made/last',
  ]
  const files = { large: 'x'.repeat(1 << 20), kept: 'kept' }
  const said = await squash(lines, files, '-t', 'squashed:1', '-t', 'squashed:2')
  const [base, image] = [await inspect('busybox'), await inspect('squashed:1')]
  assert.match(
    said,
    new RegExp(`Successfully built ${image.Id.slice(7, 19)}\nSuccessfully tagged squashed:1`),
  )
  assert.equal((await inspect('squashed:2')).Id, image.Id)
  assert.deepEqual(image.RootFS.Layers.slice(0, -1), base.RootFS.Layers)
  assert.ok(image.Config.Env.includes('A=b'))
  assert.equal(
    await inImage(
      daemon,
      'squashed:1',
      'stat -c %a /kept; cat /kept; echo; ls /large /bin/wc /made 2>/dev/null || true',
    ),
    '600\nkept\n/made:\nlast',
  )
  const [first, ...rest] = await history('squashed:1')
  const [, unsquashed = ''] = /^merge (sha256:\S+) to (sha256:\S+)$/.exec(first?.Comment ?? '') ?? []
  assert.equal(first?.Comment, `merge ${unsquashed} to ${base.Id}`)
  assert.ok((first?.Size ?? 0) < 100_000)
  assert.ok(rest.slice(0, 4).every(({ Size }) => Size === 0))
  const whole = await inspect(unsquashed)
  assert.equal(whole.RootFS.Layers.length, base.RootFS.Layers.length + 3)
  assert.deepEqual(
    readdirSync(path.join(daemon.dataRoot, 'snapshots')).filter(name => name.startsWith('.')),
    [],
  )
})

test('from nothing, and a target; the second time steps are cached', async () => {
  const lines = [
    'FROM busybox AS made',
    'RUN echo 1 >/one',
    'FROM scratch',
    'COPY --from=made /one /a',
    'COPY --from=made /one /b',
  ]
  await squash(lines, {}, '-t', 'nothing')
  assert.equal((await inspect('nothing')).RootFS.Layers.length, 1)
  assert.match((await history('nothing'))[0]?.Comment ?? '', /^create new from sha256:/)
  const again = await squash(lines, {}, '-t', 'again')
  assert.ok((again.match(/---> Using cache/g)?.length ?? 0) >= 3)
  assert.deepEqual((await inspect('again')).RootFS, (await inspect('nothing')).RootFS)
  await squash(lines, {}, '--target', 'made', '-t', 'target')
  assert.equal(await inImage(daemon, 'target', 'cat /one'), '1')
})

test('it outlives a daemon that dies, and everything else goes with its names', async () => {
  await squash(['FROM busybox', 'RUN echo kept >/kept'], {}, '-t', 'kept')
  await daemon.restart()
  assert.equal(await inImage(daemon, 'kept', 'cat /kept'), 'kept')
  await daemon.mustDocker(['rmi', '-f', 'kept'])
  await daemon.mustDocker(['image', 'prune', '-f'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  assert.equal(await inImage(daemon, 'busybox', 'echo there'), 'there')
})
