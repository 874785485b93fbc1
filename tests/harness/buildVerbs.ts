import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { servedRepository, servingFiles, writeFiles } from './buildContexts.ts'
import type { TestDaemon } from './daemon.ts'
import type { Outcome } from './shell.ts'
import type { Verb } from './verbs.ts'

/** Builds, for the crash tests: whatever step the daemon dies at, the next build gives the image. */

let count = 0

/** Steps of every kind, none of which an earlier build has done. */
const prepare = async (daemon: TestDaemon): Promise<void> => {
  const context = path.join(daemon.base, 'context')
  mkdirSync(context, { recursive: true })
  count += 1
  writeFileSync(path.join(context, 'file'), `content ${count}`)
  writeFileSync(
    path.join(context, 'Dockerfile'),
    [
      'FROM busybox AS made',
      `RUN --mount=type=cache,target=/kept,id=kept-${count} echo ${count} >/made; touch /kept/file`,
      'FROM busybox',
      'COPY file /copied',
      'COPY --from=made /made /made',
    ].join('\n'),
  )
}

const build = (daemon: TestDaemon): Promise<Outcome> =>
  daemon.docker(['build', '-q', '-t', 'built', path.join(daemon.base, 'context')])

interface Made {
  image: string
  build(daemon: TestDaemon): Promise<Outcome>
  /** What the image shows that it is, and what that is to be. */
  script: string
  shown: string
}

/** The image is there if the client was told so, and it is what it says; nothing of it stays. */
const isMade = async (
  daemon: TestDaemon,
  told: boolean,
  { image, build: buildAgain, script, shown }: Made,
): Promise<void> => {
  const found = await daemon.docker(['image', 'inspect', image])
  if (told) assert.equal(found.code, 0, found.stderr)
  const again = await buildAgain(daemon)
  assert.equal(again.code, 0, again.stderr)
  assert.equal(await daemon.mustDocker(['run', '--rm', image, 'sh', '-c', script]), shown)
  await daemon.mustDocker(['rmi', '-f', image])
}

const isBuilt = (daemon: TestDaemon, told: boolean): Promise<void> =>
  isMade(daemon, told, {
    ...{ image: 'built', build },
    script: 'cat /copied; echo; cat /made',
    shown: `content ${count}\n${count}`,
  })

/** By an exporter that is told more: blobs of its own. */
const buildAnnotated = (daemon: TestDaemon): Promise<Outcome> =>
  daemon.docker([
    ...['build', '-q', '-o', 'type=image,name=built,compression=gzip,annotation.made=here'],
    path.join(daemon.base, 'context'),
  ])

/** A repository and a download that are there for this build only, and the same ones each time. */
const buildFetched = async (daemon: TestDaemon): Promise<Outcome> => {
  const context = path.join(daemon.base, 'fetching')
  writeFiles(context, {
    Dockerfile: [
      'FROM busybox',
      'ADD http://127.0.0.1:8123/served /served',
      'ADD git://127.0.0.1/repository#main /cloned',
      '',
    ].join('\n'),
    served: `served ${count}`,
  })
  await using _files = await servingFiles(daemon, context, 'served')
  await using _repository = await servedRepository(daemon, { file: `cloned ${count}` })
  return await daemon.docker(['build', '-q', '-t', 'fetched', context])
}

const isFetched = async (daemon: TestDaemon, told: boolean): Promise<void> => {
  await isMade(daemon, told, {
    ...{ image: 'fetched', build: buildFetched },
    script: 'cat /served; echo; cat /cloned/file',
    shown: `served ${count}\ncloned ${count}`,
  })
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'build/fetching')), [])
}

export const buildVerbs: Verb[] = [
  {
    name: 'build',
    points: [
      ...['cache-mount.filled', 'snapshots.prepared', 'snapshots.mounted', 'exec-step.mounted'],
      ...['exec-step.connected', 'exec-step.started', 'exec-step.ended', 'snapshots.unmounted'],
      ...['snapshots.before-rename', 'snapshots.committed', 'snapshots.hashed', 'snapshots.sealing'],
      ...['layers.before-adopt', 'store.before-exchange', 'layers.adopted', 'snapshots.sealed'],
      ...['build-export.sealed', 'build-export.named'],
    ],
    prepare,
    run: build,
    check: (daemon, { told }) => isBuilt(daemon, told),
  },
  {
    name: 'build of an annotated image',
    points: ['build-export.archived', 'build-export.compressed', 'build-export.stored', 'build-export.named'],
    prepare,
    run: buildAnnotated,
    check: (daemon, { told }) => isBuilt(daemon, told),
  },
  {
    name: 'build of what is fetched',
    points: [
      'fetch.downloaded',
      'fetch.noted',
      'fetch.begun',
      'fetch.checked-out',
      'snapshots.before-rename',
    ],
    prepare: async () => void count++,
    run: buildFetched,
    check: (daemon, { told }) => isFetched(daemon, told),
  },
  {
    name: 'builder prune',
    points: ['cache-mount.forgotten'],
    prepare: async daemon => {
      await prepare(daemon)
      assert.equal((await build(daemon)).code, 0)
    },
    run: daemon => daemon.docker(['builder', 'prune', '-af']),
    check: (daemon, { told }) => isBuilt(daemon, told),
  },
]
