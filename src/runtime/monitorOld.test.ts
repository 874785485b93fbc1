import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectMonitor } from './monitor.ts'
import { attachClient, launch, makeRig, monitorBinary } from './monitorRig.ts'

test('a monitor of the version before serves this daemon: run, attach, exit, without what it does not know', async t => {
  const rig = makeRig(t, {
    script: 'echo one; read x; echo two; exit 4',
    binary: monitorBinary('-old'),
    change: { openStdin: true },
  })
  let ended = 0
  const { client, exited, closed } = await launch(rig, { ended: () => ended++ })
  const attached = await attachClient(t, client)
  await client.start()
  await attached.until('one\n')
  const again = await connectMonitor(rig.directory)
  t.after(() => again.close())
  assert.equal(again.status.phase, 'running')
  /* Cursors came later: the client is served from now. */
  const late = await attachClient(t, again, { from: { sequence: 1, offset: 0 } })
  attached.socket.write('x\n')
  assert.equal((await exited).exitCode, 4)
  await Promise.all([attached.ended, late.ended])
  assert.equal(attached.text, 'one\ntwo\n')
  assert.equal(late.text, 'two\n')
  assert.equal(ended, 0)
  await client.release()
  await closed
})
