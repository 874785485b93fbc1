import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { attachClient, launch, makeRig, type Rig } from './monitorRig.ts'

/** A monitor makes another: that of an exec beside the container's own. */

const stat = (pid: number): string[] => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')

const descriptors = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).map(fd => readlinkSync(`/proc/${pid}/fd/${fd}`))

const asExec = (rig: Rig, script: string): Rig => {
  const processFile = path.join(rig.bundle, 'exec.sh')
  writeFileSync(processFile, script)
  rig.spec = {
    ...rig.spec,
    task: { kind: 'exec', containerId: 'c', processFile },
    log: { ...rig.spec.log, driver: 'none' },
    openStdin: true,
  }
  return rig
}

test('a forked monitor is one of its own: id, session, descriptors, streams, exit', async t => {
  const outer = makeRig(t, { script: 'echo outer; read x; exit 3', change: { openStdin: true } })
  const parent = await launch(outer)
  const outside = await attachClient(t, parent.client)
  await parent.client.start()
  await outside.until('outer\n')
  const inner = asExec(makeRig(t, { script: '' }), 'echo inner; read x; echo got $x; exit 4')
  const child = await launch(inner, {}, parent.client)
  const inside = await attachClient(t, child.client)
  const started = await child.client.start()
  await inside.until('inner\n')
  assert.notEqual(child.client.pid, parent.client.pid)
  assert.equal(child.client.id, inner.spec.id)
  assert.equal(stat(child.client.pid)[3], String(parent.client.pid))
  assert.equal(stat(child.client.pid)[5], String(child.client.pid))
  assert.equal(stat(started.pid)[3], String(child.client.pid))
  assert.match(readFileSync(`/proc/${child.client.pid}/cmdline`, 'utf8'), new RegExp(`\0${inner.spec.id}\0`))
  // Nothing of the parent's is held: neither its log, nor its directory, nor its client.
  const held = descriptors(child.client.pid)
  assert.deepEqual(
    held.filter(name => name.includes(outer.spec.id) || name.endsWith('.log')),
    [],
  )
  const sockets = held.filter(name => name.startsWith('socket:'))
  assert.equal(sockets.length, 3, `its listener, its daemon, its client: ${held.join(' ')}`)
  inside.socket.write('word\n')
  assert.equal((await child.exited).exitCode, 4)
  await inside.ended
  assert.equal(inside.text, 'inner\ngot word\n')
  await child.client.release()
  await child.closed
  assert.equal(parent.client.status.phase, 'running')
  outside.socket.write('x\n')
  assert.equal((await parent.exited).exitCode, 3)
  await parent.client.release()
  await parent.closed
})

test('a forked monitor outlives its parent, and one of its kind may be made of it in turn', async t => {
  const outer = makeRig(t, { script: 'read x', change: { openStdin: true } })
  const parent = await launch(outer)
  await parent.client.start()
  const inner = asExec(makeRig(t, { script: '' }), 'read x; exit 5')
  const child = await launch(inner, {}, parent.client)
  const inside = await attachClient(t, child.client)
  await child.client.start()
  process.kill(parent.client.pid, 'SIGKILL')
  await parent.closed
  const last = asExec(makeRig(t, { script: '' }), 'exit 6')
  const grandchild = await launch(last, {}, child.client)
  await grandchild.client.start()
  assert.equal((await grandchild.exited).exitCode, 6)
  await grandchild.client.release()
  await grandchild.closed
  inside.socket.write('x\n')
  assert.equal((await child.exited).exitCode, 5)
  await child.client.release()
  await child.closed
})

test('what is wrong with the specification of a forked monitor is told, and its parent goes on', async t => {
  const outer = makeRig(t, { script: 'read x; exit 7', change: { openStdin: true } })
  const parent = await launch(outer)
  const outside = await attachClient(t, parent.client)
  await parent.client.start()
  const inner = asExec(makeRig(t, { script: '' }), 'exit 0')
  inner.spec = { ...inner.spec, log: { ...inner.spec.log, driver: 'json-file', path: '/nowhere/at/all.log' } }
  await assert.rejects(launch(inner, {}, parent.client), /\/nowhere\/at\/all\.log/)
  outside.socket.write('x\n')
  assert.equal((await parent.exited).exitCode, 7)
  await parent.client.release()
  await parent.closed
})
