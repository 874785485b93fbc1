import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ExecOperation } from '../graph/types.ts'
import { image, type Options, plan } from './testing/fixture.ts'
import { graphText } from './testing/graphText.ts'

const cases: [text: string, ...graph: string[]][] = [
  ['RUN make all', '1 exec 0: /bin/sh -c make all'],
  ['RUN ["make", "all"]', '1 exec 0: make all'],
  ['SHELL ["/bin/bash", "-e", "-c"]\nRUN make', '1 exec 0: /bin/bash -e -c make'],
  [
    'USER 5\nWORKDIR w\nENV A=1\nRUN make',
    '1 file 0: mkdir /w owner=5:',
    '2 exec 1: /bin/sh -c make env=["A=1"] in=/w user=5',
  ],
  ['USER a:b\nWORKDIR /w', '1 file 0: mkdir /w owner=a:b'],
  [
    'WORKDIR /a/\nWORKDIR b\nWORKDIR ../c\nWORKDIR /',
    '1 file 0: mkdir /a',
    '2 file 1: mkdir /a/b',
    '3 file 2: mkdir /a/c',
  ],
  ['RUN --network=none make', '1 exec 0: /bin/sh -c make network=none'],
  ['RUN --security=insecure make', '1 exec 0: /bin/sh -c make security=insecure'],
  [
    'RUN --device=a/b=c,required make',
    '1 exec 0: /bin/sh -c make devices=[{"name":"a/b=c","required":true}]',
  ],
  ['RUN <<E\na\nb\nE', '1 exec 0: /bin/sh -c a\nb\n'],
  ['RUN <<-E\n\ta\nE', '1 exec 0: /bin/sh -c a\n'],
  ['RUN cat <<E >x\na\nE', '1 exec 0: /bin/sh -c cat <<E >x\na\nE'],
  [
    'RUN <<E\n#!/usr/bin/python\nprint()\nE',
    '1 exec 0: /bin/sh -c /dev/pipes/E files=[{"path":"/dev/pipes/E","content":"#!/usr/bin/python\\nprint()\\n","mode":493}]',
  ],
  ['RUN --mount=target=/x make', '1 local context', '2 exec 0: /bin/sh -c make; bind /x 1:/ ro'],
  [
    'RUN --mount=source=a/,target=/x,rw make',
    '1 local context follow=["a"]',
    '2 exec 0: /bin/sh -c make; bind /x 1:/a',
  ],
  [
    'WORKDIR /w\nRUN --mount=target=x make',
    '1 file 0: mkdir /w',
    '2 local context',
    '3 exec 1: /bin/sh -c make in=/w; bind /w/x 2:/ ro',
  ],
  [
    'RUN --mount=from=busybox,src=/bin,target=/x make',
    '1 image docker.io/library/busybox:latest',
    '2 exec 0: /bin/sh -c make; bind /x 1:/bin ro',
  ],
  ['RUN --mount=type=cache,target=/x make', '1 exec 0: /bin/sh -c make; cache /x -:/ id=//x sharing=shared'],
  [
    'RUN --mount=type=cache,id=c,target=/x,sharing=locked,ro make',
    '1 exec 0: /bin/sh -c make; cache /x -:/ ro id=/c sharing=locked',
  ],
  [
    'RUN --mount=type=cache,target=/x,uid=5,mode=0700 make',
    '1 exec 0: /bin/sh -c make; cache /x -:/ id=//x sharing=shared owner={"uid":5,"gid":0,"mode":448}',
  ],
  [
    'RUN --mount=type=cache,target=/x,from=busybox,source=/a,uid=5 make',
    '1 image docker.io/library/busybox:latest',
    '2 exec 0: /bin/sh -c make; cache /x 1:/a id=//x sharing=shared',
  ],
  ['RUN --mount=type=tmpfs,target=/x,size=1k make', '1 exec 0: /bin/sh -c make; tmpfs /x size=1024'],
  [
    'RUN --mount=type=secret,id=s make',
    '1 exec 0: /bin/sh -c make; secret /run/secrets/s ro id=s uid=0 gid=0 mode=256',
  ],
  [
    'RUN --mount=type=secret,id=s,target=/t,required,uid=1,mode=0600 make',
    '1 exec 0: /bin/sh -c make; secret /t ro id=s required uid=1 gid=0 mode=384',
  ],
  [
    'RUN --mount=type=secret,target=/a/b make',
    '1 exec 0: /bin/sh -c make; secret /a/b ro id=b uid=0 gid=0 mode=256',
  ],
  [
    'RUN --mount=type=secret,id=s,env=V make',
    '1 exec 0: /bin/sh -c make secretEnv=[{"id":"s","name":"V","required":false}]',
  ],
  [
    'RUN --mount=type=secret,id=s,env=V,target=/t make',
    '1 exec 0: /bin/sh -c make secretEnv=[{"id":"s","name":"V","required":false}]; secret /t ro id=s uid=0 gid=0 mode=256',
  ],
  [
    'RUN --mount=type=ssh --mount=type=ssh,id=o,required make',
    '1 exec 0: /bin/sh -c make env=["SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"]; ssh /run/buildkit/ssh_agent.0 ro id=default uid=0 gid=0 mode=384; ssh /run/buildkit/ssh_agent.1 ro id=o required uid=0 gid=0 mode=384',
  ],
  [
    'ENV SSH_AUTH_SOCK=/s\nRUN --mount=type=ssh,target=/t make',
    '1 exec 0: /bin/sh -c make env=["SSH_AUTH_SOCK=/s"]; ssh /t ro id=default uid=0 gid=0 mode=384',
  ],
  [
    'RUN --mount=type=tmpfs,target=/b/c --mount=type=tmpfs,target=/b make',
    '1 exec 0: /bin/sh -c make; tmpfs /b; tmpfs /b/c',
  ],
  ['ARG T=/x\nRUN --mount=type=tmpfs,target=$T make', '1 exec 0: /bin/sh -c make env=["T=/x"]; tmpfs /x'],
]
for (const [text, ...graph] of cases)
  test(JSON.stringify(text), async () => {
    const { graph: planned } = await plan(`FROM alpine\n${text}`)
    assert.deepEqual(graphText(planned).slice(1), graph)
  })

const wrong: [text: string, message: string][] = [
  ['RUN --mount=type=tmpfs,target=/ make', 'invalid mount target "/"'],
  ['RUN --mount=type=tmpfs make', 'invalid mount target "/"'],
  ['RUN --mount=type=ssh,source=a make', 'ssh does not support source'],
  ['RUN --mount=type=what make', 'unsupported mount type "what"'],
]
for (const [text, message] of wrong)
  test(`${text}: ${message}`, () => assert.rejects(plan(`FROM alpine\n${text}`), { message, status: 400 }))

const execOf = async (text: string, options: Options): Promise<ExecOperation> => {
  const { graph } = await plan(`FROM alpine\n${text}`, options)
  const found = [...graph.vertices.values()]
    .map(vertex => vertex.operation)
    .find(({ kind }) => kind === 'exec')
  assert.ok(found?.kind === 'exec')
  return found
}

const requests: [what: string, text: string, options: Options, expected: Partial<ExecOperation>][] = [
  ['network', 'RUN a', { network: 'host' }, { network: 'host' }],
  [
    'network, which an instruction overrides',
    'RUN --network=none a',
    { network: 'host' },
    { network: 'none' },
  ],
  ['network, which `default` leaves', 'RUN --network=default a', { network: 'none' }, { network: 'none' }],
  ['host name', 'RUN a', { hostname: 'h' }, { hostname: 'h' }],
  [
    'host name by argument',
    'RUN a',
    { hostname: 'h', arguments: { BUILDKIT_SANDBOX_HOSTNAME: 'i' } },
    { hostname: 'i', env: [`PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`] },
  ],
  [
    'hosts',
    'RUN a',
    { extraHosts: [{ host: 'h', address: '1.2.3.4' }] },
    { extraHosts: [{ host: 'h', address: '1.2.3.4' }] },
  ],
  [
    'limits',
    'RUN a',
    { ulimits: [{ name: 'nofile', soft: 1, hard: 2 }], cgroupParent: '/p', shmSize: 5 },
    { ulimits: [{ name: 'nofile', soft: 1, hard: 2 }], cgroupParent: '/p', shmSize: 5 },
  ],
  [
    'devices',
    'RUN --device=b a',
    { devices: [{ name: 'a', required: true }] },
    {
      devices: [
        { name: 'a', required: true },
        { name: 'b', required: false },
      ],
    },
  ],
  [
    'proxies',
    'RUN a',
    { arguments: { http_proxy: 'p', NO_PROXY: 'n', FTP_PROXY: '', other: 'o' } },
    { proxy: { HTTP_PROXY: 'p', http_proxy: 'p', NO_PROXY: 'n', no_proxy: 'n' } },
  ],
]
for (const [what, text, options, expected] of requests)
  test(`a request's ${what}`, async () => {
    const found = await execOf(text, options)
    assert.deepEqual({ ...found, ...expected }, found)
  })

test('what a process runs in is its root, and what it leaves the result', async () => {
  const { mounts } = await execOf('RUN a', {})
  assert.deepEqual(mounts, [{ kind: 'bind', target: '/', readOnly: false, input: 0, source: '/', output: 0 }])
})

test('caches have a namespace where an argument names one', async () => {
  const { mounts } = await execOf('RUN --mount=type=cache,target=/x a', {
    arguments: { BUILDKIT_CACHE_MOUNT_NS: 'n' },
  })
  assert.ok(mounts[1]?.kind === 'cache')
  assert.equal(mounts[1].id, 'n//x')
})

test('a base image has a shell, a user, a folder and variables', async () => {
  const images = {
    'docker.io/library/own:latest': image({
      Shell: ['/sh', '-x'],
      User: 'u',
      WorkingDir: '/w',
      Env: ['A=1', 'B=2'],
    }),
  }
  const { graph } = await plan('FROM own\nENV A=3\nRUN make\nCOPY a .', {}, { images })
  assert.deepEqual(graphText(graph).slice(1), [
    '1 exec 0: /sh -x make env=["B=2","A=3"] in=/w user=u',
    '2 local context follow=["a"]',
    '3 file 1: copy 2:/a /w/',
  ])
})
