import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must } from './harness/shell.ts'

/** Binds with `BindOptions.IDMapping`: the source's owner is the container's user inside. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const [hostUid, hostGid] = [1234, 1235]

/** A directory of one user of the host, with files of him, of root and of the container's user. */
const makeSource = (name: string): string => {
  const source = path.join(daemon.base, name)
  mkdirSync(source)
  for (const [file, uid, gid] of [
    ['own', hostUid, hostGid],
    ['roots', 0, 0],
    ['users', 1000, 1000],
  ] as const) {
    writeFileSync(path.join(source, file), `${file}\n`, { mode: 0o600 })
    chownSync(path.join(source, file), uid, gid)
  }
  chownSync(source, hostUid, hostGid)
  chmodSync(source, 0o755)
  return source
}

interface Wanted {
  source: string
  script: string
  user?: string
  mapping?: object
  bind?: object
  mount?: object
  host?: object
}

const create = async ({ source, script, user = '', mapping, bind, mount, host }: Wanted): Promise<string> => {
  const options = { IDMapping: { Source: 'match-user', ...mapping }, ...bind }
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    ...{ Image: 'busybox', Cmd: ['sh', '-c', script], User: user },
    HostConfig: {
      Mounts: [{ Type: 'bind', Source: source, Target: '/m', BindOptions: options, ...mount }],
      ...host,
    },
  })
  return Id
}

const printed = async (wanted: Wanted): Promise<string> => {
  const id = await create(wanted)
  const outcome = await daemon.docker(['start', '-a', id])
  await daemon.mustDocker(['rm', id])
  return `${outcome.stdout}${outcome.stderr}`.trimEnd()
}

const places = (): string[] => {
  const folder = path.join(daemon.execRoot, 'subpaths')
  return existsSync(folder) ? readdirSync(folder) : []
}

const ownerOf = (file: string): string => {
  const { uid, gid } = statSync(file)
  return `${uid}:${gid}`
}

for (const runtime of ['crun', 'runc']) {
  const host = { Runtime: runtime }
  test(`${runtime}: the owner outside is the container's user inside, for reading and for writing`, async () => {
    const source = makeSource(`both-${runtime}`)
    const script =
      'cd /m; stat -c %n:%u:%g . *; cat own; echo more >>own; touch made; mkdir -p a/b; cat roots users 2>&1; chown 1001 made 2>&1'
    assert.equal(
      await printed({ source, script, user: '1000', host }),
      [
        ...['.:1000:1000', 'own:1000:1000', 'roots:0:0', 'users:65534:65534', 'own'],
        "cat: can't open 'roots': Permission denied",
        "cat: can't open 'users': Permission denied",
        'chown: made: Operation not permitted',
      ].join('\n'),
    )
    assert.equal(readFileSync(`${source}/own`, 'utf8'), 'own\nmore\n')
    for (const name of ['made', 'a/b', 'own']) assert.equal(ownerOf(`${source}/${name}`), '1234:1235', name)
    assert.deepEqual(places(), [], 'nothing is left of the run')
  })

  test(`${runtime}: root, a name, and another user than the container's are meant, too`, async () => {
    const source = makeSource(`who-${runtime}`)
    const script = 'stat -c %u:%g /m /m/own; touch /m/"$(id -u)"; stat -c %u:%g /m/"$(id -u)"'
    const at = (user: string, mapping?: object) =>
      printed({ source, script, user, host, ...(mapping ? { mapping } : {}) })
    assert.equal(await at(''), '0:0\n0:0\n0:0')
    assert.equal(ownerOf(`${source}/0`), '1234:1235')
    assert.equal(await at('user'), '1000:1000\n1000:1000\n1000:1000')
    assert.equal(ownerOf(`${source}/1000`), '1234:1235')
    assert.equal(await at('', { User: 'nobody:audio' }), '65534:29\n65534:29\n65534:29')
    assert.equal(ownerOf(`${source}/0`), '1234:1235', 'of a file that was there')
    assert.equal(await at(`${hostUid}:${hostGid}`), '1234:1235\n1234:1235\n1234:1235')
    assert.match(await at('', { User: 'nothing' }), /unable to find user nothing/)
    assert.deepEqual(places(), [])
  })

  test(`${runtime}: a file, a read-only bind and one with mounts below it are mapped`, async () => {
    const source = makeSource(`kinds-${runtime}`)
    chmodSync(`${source}/own`, 0o600)
    const user = '1000'
    assert.equal(
      await printed({ source: `${source}/own`, script: 'cat /m; stat -c %u /m', user, host }),
      'own\n1000',
    )
    const readOnly = { ReadOnly: true }
    assert.match(
      await printed({ source, script: 'cat /m/own; touch /m/x', user, host, mount: readOnly }),
      /^own\ntouch: \/m\/x: Read-only file system$/,
    )
    // Shared, as mounts of hosts with systemd are.
    await must(['mount', '--bind', source, source])
    await must(['mount', '--make-shared', source])
    mkdirSync(`${source}/below`)
    await must([
      'mount',
      '-t',
      'tmpfs',
      '-o',
      `uid=${hostUid},gid=${hostGid},mode=700`,
      'below',
      `${source}/below`,
    ])
    try {
      const below = 'stat -c %u:%g:%a /m/below; touch /m/below/x'
      assert.equal(await printed({ source, script: below, user, host }), '1000:1000:700')
      assert.equal(ownerOf(`${source}/below/x`), '1234:1235')
      const alone = { bind: { NonRecursive: true } }
      assert.equal(await printed({ source, script: 'ls /m/below', host, ...alone }), '')
    } finally {
      await must(['umount', `${source}/below`])
      await must(['umount', source])
    }
    assert.deepEqual(places(), [])
  })
}

test('a file system that cannot is named, and so is a mount below', async () => {
  const source = makeSource('cannot')
  mkdirSync(`${source}/ram`)
  await must(['mount', '-t', 'ramfs', 'ram', `${source}/ram`])
  try {
    const words = new RegExp(`the file system at ${source}/ram \\(ramfs\\) does not support id-mapped mounts`)
    assert.match(await printed({ source: `${source}/ram`, script: 'true', user: '1000' }), words)
    assert.match(await printed({ source, script: 'true', user: '1000' }), words)
    const alone = { bind: { NonRecursive: true } }
    assert.equal(await printed({ source, script: 'stat -c %u /m', user: '1000', ...alone }), '1000')
  } finally {
    await must(['umount', `${source}/ram`])
  }
  assert.deepEqual(places(), [])
})

test('what is asked for wrongly is refused', async () => {
  const refused = async (BindOptions: object, words: RegExp) => {
    const Mounts = [{ Type: 'bind', Source: daemon.base, Target: '/m', BindOptions }]
    const { status, text } = await daemon.api('POST', '/containers/create', {
      ...{ Image: 'busybox', Cmd: ['true'], HostConfig: { Mounts } },
    })
    assert.equal(status, 400)
    assert.match(text, words)
  }
  await refused({ IDMapping: {} }, /field IDMapping.Source must not be empty/)
  await refused({ IDMapping: { Source: 'all' } }, /invalid IDMapping.Source: all/)
  await refused({ IDMapping: { Source: 'userns' } }, /needs a container with a user namespace of its own/)
})

test('docker cp sees and makes the same owners, whether the container runs or not', async () => {
  const source = makeSource('copied')
  const file = path.join(daemon.base, 'copy-me')
  writeFileSync(file, 'copied')
  chownSync(file, 1000, 1000)
  const id = await create({ source, script: 'sleep 1000', user: '1000' })
  for (const state of ['stopped', 'running']) {
    if (state === 'running') await daemon.mustDocker(['start', id])
    await daemon.mustDocker(['cp', '-a', file, `${id}:/m/${state}`])
    assert.equal(ownerOf(`${source}/${state}`), '1234:1235', state)
    const listed = await must(
      [...['sh', '-c', `${daemon.client} cp ${id}:/m/own - | tar --numeric-owner -tv`]],
      { env: daemon.dockerEnv },
    )
    assert.match(listed, /1000\/1000/, state)
  }
  await daemon.mustDocker(['rm', '-f', id])
  assert.deepEqual(places(), [])
})

test('of a source of root’s, root in the container is the user outside', async () => {
  const source = path.join(daemon.base, 'roots')
  mkdirSync(source)
  const file = path.join(daemon.base, 'give')
  writeFileSync(file, 'given')
  const id = await create({ source, script: 'sleep 1000', user: '1000' })
  await daemon.mustDocker(['cp', file, `${id}:/m/stopped`])
  await daemon.mustDocker(['start', id])
  await daemon.mustDocker(['cp', file, `${id}:/m/running`])
  await daemon.mustDocker(['exec', id, 'touch', '/m/users'])
  await daemon.mustDocker(['exec', '-u', '0', id, 'touch', '/m/roots'])
  const outside = { stopped: '1000:1000', running: '1000:1000', users: '0:0', roots: '1000:1000' }
  for (const [name, owner] of Object.entries(outside)) assert.equal(ownerOf(`${source}/${name}`), owner, name)
  const inside = await daemon.mustDocker(['exec', id, 'stat', '-c', '%n:%u', '/m/users', '/m/roots'])
  assert.equal(inside, '/m/users:1000\n/m/roots:0')
  await daemon.mustDocker(['rm', '-f', id])
})

test('a mapping outlives the daemon, and goes with the run whatever ended it', async () => {
  const source = makeSource('kept')
  const id = await create({ source, script: 'sleep 1000', user: '1000' })
  await daemon.mustDocker(['start', id])
  const sees = async () =>
    assert.equal(await daemon.mustDocker(['exec', id, 'stat', '-c', '%u', '/m/own']), '1000')
  await sees()
  await daemon.restart()
  await sees()
  const pid = Number(await daemon.mustDocker(['inspect', '-f', '{{.State.Pid}}', id]))
  await daemon.kill()
  process.kill(pid, 'SIGKILL')
  await daemon.start()
  assert.deepEqual(places(), [])
  await daemon.mustDocker(['start', id])
  await sees()
  await daemon.mustDocker(['restart', '-t', '0', id])
  await sees()
  await daemon.mustDocker(['rm', '-f', id])
  assert.deepEqual(places(), [])
})
