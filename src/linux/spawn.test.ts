import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closeDescriptor, receiveDescriptors, setTimeouts, socketPair } from './descriptors.ts'
import { spawnDetached } from './spawn.ts'

/** Runs a shell script whose first process ends at once and whose second writes to descriptor 3. */
const report = (script: string): string => {
  const [ours, theirs] = socketPair()
  try {
    spawnDetached({
      file: '/bin/sh',
      args: ['sh', '-c', `(${script}) >&3 2>&3 &`],
      env: { PATH: '/usr/bin:/bin', ONLY: 'this' },
      descriptors: [theirs],
    })
    closeDescriptor(theirs)
    setTimeouts(ours, 30_000)
    const parts: Buffer[] = []
    for (
      let part = receiveDescriptors(ours, 65536).data;
      part.length > 0;
      part = receiveDescriptors(ours, 65536).data
    )
      parts.push(part)
    return Buffer.concat(parts).toString('utf8')
  } finally {
    closeDescriptor(ours)
  }
}

test('the program has its descriptors, its environment, and no signal blocked or, by us, ignored', () => {
  assert.match(report('readlink /proc/self/fd/0 /proc/self/fd/3'), /^\/dev\/null\nsocket:/)
  assert.equal(report('echo $ONLY; echo $HOME'), 'this\n\n')
  const status = report('cat /proc/self/status')
  assert.match(status, /^SigBlk:\s0{16}$/m)
  const ignored = BigInt(`0x${/^SigIgn:\s(\w+)$/m.exec(status)?.[1]}`)
  const sigpipe = 1n << 12n
  assert.equal(ignored & sigpipe, 0n)
})

test('what cannot be run is an error with its reason', () => {
  const program = { args: ['x'], env: {}, descriptors: [] }
  assert.throws(() => spawnDetached({ ...program, file: '/nosuch' }), { code: 'ENOENT' })
  assert.throws(() => spawnDetached({ ...program, file: '/etc/passwd' }), { code: 'EACCES' })
  assert.throws(
    () => spawnDetached({ file: '/bin/sh', args: ['sh', '-c', 'exit 3'], env: {}, descriptors: [] }),
    /did not detach itself: its first process ended with wait status 768/,
  )
})
