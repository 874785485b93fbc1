import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { must } from './harness/shell.ts'

/** What programs do with docker-py, and how they are told of failures: each part of tests/stories/docker-py.py. */
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const parts = {
  errors: 'every failure is the exception that docker-py has for it',
  output: 'output is told from errors, streamed while it comes, and cut as asked',
  processes: 'execs have their code, streams, user, environment and input',
  archives: 'files go in and come out as archives',
  life: 'containers are renamed, updated, signalled, waited for, changed and committed',
  attach: 'an attached socket gives input and takes output',
  events: 'events come while things happen, filtered and decoded',
  networks: 'networks are made, joined with aliases, left and removed',
  volumes: 'volumes are made, mounted, listed and removed',
  images: 'images are tagged, saved, loaded, listed, and removed',
  system: 'the system tells its version, its disk usage, and is pruned',
}

for (const [part, what] of Object.entries(parts)) {
  test(`docker-py: ${what}`, async () => {
    const story = path.join(projectRoot, 'tests/stories/docker-py.py')
    assert.equal(await must(['/usr/bin/python3', story, daemon.socket, part]), `${part}: done`)
    assert.equal(await daemon.mustDocker(['ps', '-aq']), '')
  })
}
