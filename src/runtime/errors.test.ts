import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startFailure } from './errors.ts'

/** What runtimes were seen to say of a program that cannot be run, by version. */
const said: [text: string, exitCode: number, message: string][] = [
  [
    // crun 1.8
    'open executable: Permission denied',
    126,
    'exec: "/prog": permission denied',
  ],
  [
    // crun 1.21
    'the path `/etc/passwd` exists but it is not executable: Operation not permitted',
    126,
    'exec: "/etc/passwd": permission denied',
  ],
  [
    'the path `/etc` is not a regular file: Operation not permitted',
    126,
    'exec: "/etc": is a directory: permission denied',
  ],
  [
    'executable file `nope` not found in $PATH: No such file or directory',
    127,
    'exec: "nope": executable file not found in $PATH',
  ],
  // runc 1.1
  [
    'runc run failed: unable to start container process: exec: "/etc/passwd": permission denied',
    126,
    'exec: "/etc/passwd": permission denied',
  ],
]

test('what a runtime says of a program becomes Docker’s words and exit code', () => {
  for (const [text, exitCode, message] of said)
    assert.deepEqual(startFailure(text, '/prog'), { exitCode, message }, text)
})
