import assert from 'node:assert/strict'
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { type Outcome, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** The verbs of containers with mounts that Berth makes before the runtime does, for the crash tests. */

const exists = async (daemon: TestDaemon, name: string): Promise<boolean> =>
  (await daemon.api('GET', `/containers/${name}/json`)).status === 200

const hasStopped = (daemon: TestDaemon, name: string): Promise<boolean> =>
  until('it has stopped', async () => {
    const { State } = await daemon.json<{ State: { Status: string } }>('GET', `/containers/${name}/json`)
    return State.Status === 'exited'
  })

/** Creates a container with two mounts of an image, by a raw request: as the client's outcome. */
const createWithImage = async (daemon: TestDaemon): Promise<Outcome> => {
  const image = { Type: 'image', Source: 'busybox' }
  const body = {
    Image: 'busybox',
    Cmd: ['sleep', '1000'],
    HostConfig: {
      Mounts: [
        { ...image, Target: '/whole' },
        { ...image, Target: '/part', ImageOptions: { Subpath: 'bin' } },
      ],
    },
  }
  try {
    const { status, text } = await daemon.api('POST', '/v1.48/containers/create?name=imaged', body)
    return { code: status === 201 ? 0 : 1, stdout: '', stderr: text }
  } catch (error) {
    return { code: 1, stdout: '', stderr: String(error) }
  }
}

/** It runs, or does again, with what it has mounted; nothing of it stays. */
const seesImage = async (daemon: TestDaemon): Promise<void> => {
  await daemon.mustDocker(['start', 'imaged'])
  assert.equal(
    await daemon.mustDocker(['exec', 'imaged', 'sh', '-c', 'cd /part; echo sh; ls /whole/etc']),
    'sh\ngroup\npasswd',
  )
  await daemon.mustDocker(['rm', '-f', 'imaged'])
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'uppers')), [])
  const places = path.join(daemon.execRoot, 'subpaths')
  assert.deepEqual(existsSync(places) ? readdirSync(places) : [], [])
}

/** A container with a bind whose owner is another one in it; its user is 1000. */
const createMapped = async (daemon: TestDaemon): Promise<void> => {
  const source = path.join(daemon.base, 'mapped')
  mkdirSync(source, { recursive: true })
  chownSync(source, 1234, 1235)
  await daemon.json('POST', '/containers/create?name=mapped', {
    Image: 'busybox',
    Cmd: ['sleep', '1000'],
    User: 'user',
    HostConfig: {
      Mounts: [
        {
          ...{ Type: 'bind', Source: source, Target: '/m' },
          BindOptions: { IDMapping: { Source: 'match-user' } },
        },
      ],
    },
  })
}

const isMapped = async (daemon: TestDaemon): Promise<void> => {
  await daemon.mustDocker(['start', 'mapped'])
  assert.equal(await daemon.mustDocker(['exec', 'mapped', 'stat', '-c', '%u:%g', '/m']), '1000:1000')
  await daemon.mustDocker(['rm', '-f', 'mapped'])
  assert.deepEqual(readdirSync(path.join(daemon.execRoot, 'subpaths')), [])
}

export const mountVerbs: Verb[] = [
  {
    name: 'start with an owner mapped',
    points: ['start.mapped', 'start.connected', 'start.started'],
    prepare: createMapped,
    run: daemon => daemon.docker(['start', 'mapped']),
    check: isMapped,
  },
  {
    name: 'stop with an owner mapped',
    points: ['exit.saved', 'exit.cleared'],
    prepare: async daemon => {
      await createMapped(daemon)
      await daemon.mustDocker(['start', 'mapped'])
    },
    run: daemon => daemon.docker(['stop', '-t', '0', 'mapped']),
    check: async daemon => {
      await hasStopped(daemon, 'mapped')
      await isMapped(daemon)
    },
  },
  {
    name: 'create with an image mounted',
    points: ['create.upper', 'create.image', 'create.recorded'],
    run: createWithImage,
    check: async (daemon, { point }) => {
      const there = await exists(daemon, 'imaged')
      assert.equal(there, point === 'create.recorded')
      if (!there) assert.equal((await createWithImage(daemon)).code, 0)
      await seesImage(daemon)
    },
  },
  {
    name: 'start with an image mounted',
    points: ['uppers.mounted', 'start.image', 'start.volumes', 'start.started'],
    prepare: createWithImage,
    run: daemon => daemon.docker(['start', 'imaged']),
    check: seesImage,
  },
  {
    name: 'stop with an image mounted',
    points: ['exit.saved', 'exit.cleared'],
    prepare: async daemon => {
      await createWithImage(daemon)
      await daemon.mustDocker(['start', 'imaged'])
    },
    run: daemon => daemon.docker(['stop', '-t', '0', 'imaged']),
    check: async daemon => {
      await hasStopped(daemon, 'imaged')
      await seesImage(daemon)
    },
  },
  {
    name: 'rm with an image mounted',
    points: ['remove.recorded', 'uppers.unmounted', 'remove.step'],
    prepare: createWithImage,
    run: daemon => daemon.docker(['rm', 'imaged']),
    check: async daemon => {
      assert.equal(await exists(daemon, 'imaged'), false)
      assert.equal((await createWithImage(daemon)).code, 0)
      await seesImage(daemon)
    },
  },
]
