import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { notifySystemd } from './notify.ts'

const listener = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', chr(0)))
print('bound', flush=True)
print(s.recv(4096).decode())
`

test('a state reaches systemd’s socket, by path and by abstract name', async t => {
  const folder = mkdtempSync('/tmp/berth-notify-')
  t.after(() => rmSync(folder, { recursive: true }))
  for (const name of [path.join(folder, 'n'), `@berth-notify-${process.pid}`]) {
    const child = execFile('/usr/bin/python3', ['-c', listener, name])
    let text = ''
    child.stdout?.on('data', chunk => {
      text += chunk
      if (text === 'bound\n') notifySystemd('READY=1\nMAINPID=7', name)
    })
    await new Promise(resolve => child.once('close', resolve))
    assert.equal(text, 'bound\nREADY=1\nMAINPID=7\n')
  }
})

test('without a socket nothing is sent, and a wrong one is an error', () => {
  notifySystemd('READY=1', '')
  assert.throws(() => notifySystemd('READY=1', '/no/such/socket'), { code: 'ENOENT' })
})
