import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { applyChanges } from './changes.ts'

const refuses = (change: string, message: string | RegExp): void => {
  assert.throws(() => applyChanges({}, [change]), { code: 'bad-request', message })
}

describe('changes of a configuration', () => {
  it('take commands in both forms', () => {
    assert.deepEqual(applyChanges({}, ['CMD ["echo", "a b"]']).Cmd, ['echo', 'a b'])
    assert.deepEqual(applyChanges({}, ['cmd echo $HOME']).Cmd, ['/bin/sh', '-c', 'echo $HOME'])
    assert.deepEqual(applyChanges({ Shell: ['ash', '-c'] }, ['ENTRYPOINT x']).Entrypoint, ['ash', '-c', 'x'])
    assert.deepEqual(applyChanges({}, ['CMD [1]']).Cmd, ['/bin/sh', '-c', '[1]'])
  })

  it('drop a command that is older than the entrypoint', () => {
    assert.equal(applyChanges({ Cmd: ['old'] }, ['ENTRYPOINT ["e"]']).Cmd, undefined)
    assert.deepEqual(applyChanges({ Cmd: ['old'] }, ['CMD ["new"]', 'ENTRYPOINT ["e"]']).Cmd, ['new'])
  })

  it('set variables with quotes, and use those of before', () => {
    const { Env } = applyChanges({ Env: ['A=1', 'B=2'] }, [
      'ENV A="x y" C=$A${B:-no}${D:-d} E=\'$A\'',
      'ENV F $A tail',
    ])
    assert.deepEqual(Env, ['A=x y', 'B=2', 'C=12d', 'E=$A', 'F=x y tail'])
  })

  it('join continued lines and leave comments out', () => {
    const { Labels } = applyChanges({ Labels: { kept: '1' } }, [
      'LABEL a=b \\',
      '# not this',
      '  "c d"="e f"',
    ])
    assert.deepEqual(Labels, { kept: '1', a: 'b', 'c d': 'e f' })
  })

  it('expose ports and ranges', () => {
    assert.deepEqual(
      Object.keys(applyChanges({ Env: ['P=80 81'] }, ['EXPOSE $P 90-92/udp']).ExposedPorts ?? {}),
      ['80/tcp', '81/tcp', '90/udp', '91/udp', '92/udp'],
    )
    refuses('EXPOSE web', 'invalid containerPort: web')
    refuses('EXPOSE 92-90', /invalid containerPort/)
    refuses('EXPOSE', 'EXPOSE requires at least one argument')
  })

  it('resolve a working directory against the one before', () => {
    assert.equal(applyChanges({ WorkingDir: '/a' }, ['WORKDIR b', 'WORKDIR ../c']).WorkingDir, '/a/c')
    assert.equal(applyChanges({}, ['WORKDIR x']).WorkingDir, '/x')
  })

  it('take users, volumes, signals and triggers', () => {
    const config = applyChanges({}, [
      'USER u:g',
      'VOLUME ["/a b"]',
      'VOLUME /c /d',
      'STOPSIGNAL SIGINT',
      'ONBUILD RUN x "y"',
    ])
    assert.equal(config.User, 'u:g')
    assert.deepEqual(Object.keys(config.Volumes ?? {}), ['/a b', '/c', '/d'])
    assert.equal(config.StopSignal, 'SIGINT')
    assert.deepEqual(config.OnBuild, ['RUN x "y"'])
    refuses('ONBUILD ONBUILD RUN x', /Chaining ONBUILD/)
    refuses('ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger")
    refuses('STOPSIGNAL nothing', /invalid signal/)
  })

  it('describe health checks', () => {
    assert.deepEqual(
      applyChanges({}, ['HEALTHCHECK --interval=1m30s --retries=2 CMD test -e /x']).Healthcheck,
      {
        Test: ['CMD-SHELL', 'test -e /x'],
        Interval: 90e9,
        Retries: 2,
      },
    )
    assert.deepEqual(applyChanges({}, ['HEALTHCHECK NONE']).Healthcheck, { Test: ['NONE'] })
    refuses('HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD')
    refuses('HEALTHCHECK RUN x', 'Unknown type "RUN" in HEALTHCHECK (try CMD)')
    refuses('HEALTHCHECK --interval=1us CMD x', 'Interval "interval" cannot be less than 1ms')
    refuses('HEALTHCHECK --interval=soon CMD x', 'time: invalid duration "soon"')
  })

  it('refuse what changes more than a configuration, before anything is carried out', () => {
    refuses('FROM busybox', 'FROM is not a valid change command')
    refuses('toString x', 'toString is not a valid change command')
    refuses('ENV A', 'ENV must have two arguments')
    refuses('ENV a=b c', /can't find = in "c"/)
    refuses('LABEL a="b', /matching double-quote/)
    refuses('USER ${x:^y}', /bad substitution/)
  })

  it('leave the configuration they are given alone', () => {
    const given = { Env: ['A=1'], Labels: { a: 'b' } }
    applyChanges(given, ['ENV A=2', 'LABEL a=c', 'CMD x'])
    assert.deepEqual(given, { Env: ['A=1'], Labels: { a: 'b' } })
  })
})
