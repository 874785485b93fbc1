import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSeccompProfile, resolveSeccomp } from './seccomp.ts'

const parse = (profile: unknown) => parseSeccompProfile(JSON.stringify(profile))
const context = { architecture: 'amd64', kernel: '6.1.0-18-amd64', capabilities: ['CAP_SYS_PTRACE'] }

test('a profile that says nothing is no filter', () => {
  assert.equal(parse({}), undefined)
  assert.equal(parse({ defaultAction: '', syscalls: [] }), undefined)
})

test('a profile that cannot be is refused in Docker’s words', () => {
  assert.throws(() => parseSeccompProfile('{'), /^BerthError: Decoding seccomp profile failed: /)
  assert.throws(() => parseSeccompProfile('[]'), /Decoding seccomp profile failed: it is no JSON object/)
  assert.throws(() => parse({ syscalls: [{ names: ['a'] }] }), /defaultAction is missing/)
  const base = { defaultAction: 'SCMP_ACT_ALLOW' }
  assert.throws(
    () =>
      parse({
        ...base,
        architectures: ['SCMP_ARCH_X86'],
        archMap: [{ architecture: 'SCMP_ARCH_X86_64' }],
      }),
    {
      message:
        /^both 'architectures' and 'archMap' are specified .* use either 'architectures' or 'archMap'$/,
    },
  )
  assert.throws(() => parse({ ...base, syscalls: [{ name: 'a', names: ['b'] }] }), {
    message: /^both 'name' and 'names' .* use either 'name' or 'names'$/,
  })
  for (const minKernel of ['6', '6.1.2', 'x.y', '0.0', '300.1'])
    assert.throws(
      () => parse({ ...base, syscalls: [{ names: ['a'], includes: { minKernel } }] }),
      /invalid kernel version: ".*", expected "<kernel>\.<major>"/,
    )
})

test('rules hold by architecture, capability and kernel', () => {
  const rule = (name: string, more: object) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...more })
  const profile = parse({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      rule('held', { includes: { caps: ['CAP_SYS_PTRACE'] } }),
      rule('not-held', { includes: { caps: ['CAP_SYS_ADMIN'] } }),
      rule('excluded', { excludes: { caps: ['CAP_SYS_PTRACE'] } }),
      rule('here', { includes: { arches: ['amd64'] } }),
      rule('elsewhere', { excludes: { arches: ['amd64'] } }),
      rule('old-enough', { includes: { minKernel: '6.1' } }),
      rule('too-new', { includes: { minKernel: '6.2' } }),
      rule('by-age', { excludes: { minKernel: '4.8' } }),
      { name: 'older-form', action: 'SCMP_ACT_ALLOW' },
    ],
  })
  assert.ok(profile)
  assert.deepEqual(
    resolveSeccomp(profile, context).syscalls.map(({ names }) => names[0]),
    ['held', 'here', 'old-enough', 'older-form'],
  )
})

test('flags, a listener and one architecture’s family reach the runtime', () => {
  const profile = parse({
    defaultAction: 'SCMP_ACT_NOTIFY',
    defaultErrnoRet: 38,
    archMap: [
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
    ],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    listenerPath: '/run/l.sock',
    listenerMetadata: 'm',
  })
  assert.ok(profile)
  assert.deepEqual(resolveSeccomp(profile, context), {
    defaultAction: 'SCMP_ACT_NOTIFY',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    listenerPath: '/run/l.sock',
    listenerMetadata: 'm',
    syscalls: [],
  })
})
