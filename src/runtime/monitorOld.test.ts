import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { test } from 'node:test'
import { connectMonitor } from './monitor.ts'
import { attachClient, launch, makeRig, monitorBinary } from './monitorRig.ts'

test('a monitor of the version before serves this daemon: run, attach, exec beside it, exit', async t => {
  const rig = makeRig(t, {
    script: 'echo one; read x; echo two; seq 300000 >&2; exit 4',
    binary: monitorBinary('-old'),
    change: { openStdin: true },
  })
  const grown: number[] = []
  const { client, exited, closed } = await launch(rig, { logGrown: size => grown.push(size) })
  const attached = await attachClient(t, client, { stderr: false })
  await client.start()
  await attached.until('one\n')
  const again = await connectMonitor(rig.directory)
  t.after(() => again.close())
  assert.equal(again.status.phase, 'running')
  assert.equal(again.canFork, true)
  assert.equal(again.tellsGrowth, false)
  const beside = makeRig(t, { script: 'exit 5', binary: monitorBinary('-old') })
  const other = await launch(beside, {}, again)
  await other.client.start()
  assert.equal((await other.exited).exitCode, 5)
  await other.client.release()
  await other.closed
  attached.socket.write('x\n')
  assert.equal((await exited).exitCode, 4)
  await attached.ended
  assert.equal(attached.text, 'one\ntwo\n')
  assert.ok(statSync(rig.logPath).size > 2 << 20)
  assert.deepEqual(grown, [])
  await client.release()
  await closed
})
