import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BuildProgress } from '../../build/solver/progress.ts'
import { Builds, type OpenBuild } from './builds.ts'
import type { Build, BuildResult } from './types.ts'

const opened = (ref: string): OpenBuild => ({
  ref,
  build: {} as Build,
  progress: new BuildProgress(),
  signal: new AbortController().signal,
  returned: Promise.withResolvers<BuildResult>(),
})

const { signal } = new AbortController()

test('a build that ended before anybody asked is still told of', async () => {
  const builds = new Builds()
  const build = opened('quick')
  builds.add(build)
  builds.remove('quick', { isKept: false })
  assert.equal(await builds.progress('quick', signal), build.progress)
})

test('a later build of the ref is told of, and not the one before it', async () => {
  const builds = new Builds()
  builds.add(opened('again'))
  builds.remove('again', { isKept: false })
  const later = opened('again')
  builds.add(later)
  assert.equal(await builds.progress('again', signal), later.progress)
})

test('one that was heard is forgotten with its end', async () => {
  const builds = new Builds()
  const build = opened('heard')
  const asked = builds.progress('heard', signal)
  builds.add(build)
  assert.equal(await asked, build.progress)
  builds.remove('heard', { isKept: false })
  const left = AbortSignal.abort(new Error('left'))
  await assert.rejects(builds.progress('heard', left), /left/)
})
