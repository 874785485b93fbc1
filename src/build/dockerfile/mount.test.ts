import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DockerfileError } from './errors.ts'
import { expandMounts } from './expandInstruction.ts'
import { parseDockerfile } from './parse.ts'
import type { RunMount } from './types.ts'

const mountOf = (text: string): Partial<RunMount> | undefined => {
  const [run] = parseDockerfile(`FROM a\nRUN --mount=${text} b`).stages[0]?.instructions ?? []
  assert.ok(run?.name === 'RUN')
  const values: Record<string, string> = { type: 'cache', id: 'x' }
  return expandMounts(run, name => values[name], '\\').mounts[0]
}

const plain = { readOnly: true, required: false }

const cases: [text: string, mount: Partial<RunMount>][] = [
  ['target=/a', { type: 'bind', target: '/a', ...plain }],
  [
    'type=bind,src=b,dst=/a,from=c,rw',
    { type: 'bind', source: 'b', target: '/a', from: 'c', ...plain, readOnly: false },
  ],
  [
    'destination=/a,source=b,ro=false',
    { type: 'bind', source: 'b', target: '/a', ...plain, readOnly: false },
  ],
  ['readwrite=false', { type: 'bind', ...plain }],
  [
    'type=$type,id=$id-1,target=/a,sharing=LOCKED,mode=0700,uid=1,gid=2',
    {
      type: 'cache',
      id: 'x-1',
      target: '/a',
      sharing: 'locked',
      mode: 0o700,
      uid: 1,
      gid: 2,
      ...plain,
      readOnly: false,
    },
  ],
  ['type=cache,target=/a,readonly', { type: 'cache', target: '/a', ...plain }],
  ['TYPE=TmpFs,target=/a,size=2m', { type: 'tmpfs', target: '/a', size: 2097152, ...plain, readOnly: false }],
  ['type=tmpfs,size=.5k', { type: 'tmpfs', size: 512, ...plain, readOnly: false }],
  ['type=secret,id=a,env=B,required', { type: 'secret', id: 'a', env: 'B', readOnly: true, required: true }],
  ['type=secret,id=a,env=,required=0', { type: 'secret', id: 'a', env: '', ...plain }],
  ['type=ssh,required=true', { type: 'ssh', readOnly: true, required: true }],
]
for (const [text, mount] of cases) test(text, () => assert.deepEqual(mountOf(text), mount))

const wrong: [text: string, message: string][] = [
  ['type=bnd', 'unsupported mount type "bnd" (did you mean bind?)'],
  ['type=x', 'unsupported mount type "x"'],
  ['taget=/a', "unexpected key 'taget' in 'taget=/a' (did you mean target?)"],
  ['constructor=a', "unexpected key 'constructor' in 'constructor=a'"],
  ['target', "invalid field 'target' must be a key=value pair"],
  ['ro=x', 'invalid value for ro: x'],
  ['required', "unexpected key 'required' for mount type 'bind'"],
  ['type=cache,required=true', "unexpected key 'required' for mount type 'cache'"],
  ['size=1', "unexpected key 'size' for mount type 'bind'"],
  ['type=tmpfs,size=x', 'invalid value for size: x'],
  ['type=cache,sharing=shred', 'unsupported sharing value "shred" (did you mean shared?)'],
  ['sharing=shared', 'invalid cache sharing set for bind mount'],
  ['type=cache,mode=9', 'invalid value 9 for mode'],
  ['type=cache,uid=-1', 'invalid value -1 for uid'],
  ['type=cache,gid=4294967296', 'invalid value 4294967296 for gid'],
  ['mode=7', 'mode not allowed for "bind" type mounts'],
  ['type=tmpfs,uid=7', 'uid not allowed for "tmpfs" type mounts'],
  ['type=secret', 'invalid secret mount. one of source, target required'],
  ['type=secret,source=a,id=b', "both source and id can't be set"],
  ['type=secret,id=a,from=b', 'secret mount should not have a from'],
  ['type=secret,id=a,sharing=shared', 'secret mount should not define sharing'],
]
for (const [text, message] of wrong)
  test(`${text}: ${message}`, () =>
    assert.throws(
      () => mountOf(text),
      (error: unknown) => {
        assert.ok(error instanceof DockerfileError)
        assert.equal(error.message, message)
        assert.equal(error.ranges[0]?.start.line, 2)
        return true
      },
    ))
