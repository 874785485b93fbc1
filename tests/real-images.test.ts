import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDistribution } from '../src/registry-client/testing/distribution.ts'
import { containerTool } from './harness/containerTools.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { importDebianImages } from './harness/debianImages.ts'
import { projectRoot } from './harness/images.ts'

/** A Debian system, and one with a tree of npm's over it, through a registry and back. */
let daemon: TestDaemon
let folder: string
let registry: AsyncDisposable
const address = '127.0.0.1:5000'

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args, { deadline: 300_000 })

before(async () => {
  daemon = await startDaemon()
  folder = mkdtempSync(path.join(tmpdir(), 'berth-real-'))
  registry = await startDistribution({ namespace: daemon.namespace, address })
  await importDebianImages(daemon, ['debian'])
  const id = await docker('create', 'debian')
  await docker('cp', '-q', path.join(projectRoot, 'node_modules/typescript'), `${id}:/srv`)
  await docker('cp', '-q', path.join(projectRoot, 'node_modules/@redis'), `${id}:/srv`)
  await docker('commit', id, 'tree')
  await docker('rm', id)
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await daemon.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Everything that an image has: kinds, modes, owners, sizes, times, targets and content. */
const everything = [
  "find / -xdev ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' ! -path /etc/hostname ! -path /etc/hosts ! -path /etc/resolv.conf ! -path / ! -path /etc -printf '%p %y %m %U %G %s %T@ %l\\n' | sort | sha256sum",
  'find /usr /srv /var -xdev -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum',
].join('; ')

const contentOf = (name: string): Promise<string> =>
  docker('run', '--rm', '--net', 'none', name, 'bash', '-c', everything)

for (const name of ['debian', 'tree'])
  test(`${name} comes back from a registry as it was, to the last file`, async () => {
    const before = await contentOf(name)
    const remote = `${address}/real/${name}:1`
    await docker('tag', name, remote)
    const pushed = /digest: (sha256:[0-9a-f]{64})/.exec(await docker('push', remote))?.[1]
    const inspected = await containerTool(
      folder,
      'skopeo',
      ['inspect', '--tls-verify=false', `docker://${remote}`],
      daemon.namespace,
    )
    assert.equal(JSON.parse(inspected).Digest, pushed)
    const id = await docker('image', 'inspect', '-f', '{{.Id}}', name)
    await docker('rmi', remote, name)
    const said = await docker('pull', remote)
    assert.match(said, new RegExp(`Digest: ${pushed}`))
    assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', remote), id)
    assert.equal(await contentOf(remote), before)
    await docker('tag', remote, name)
  })
