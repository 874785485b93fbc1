import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planBuild } from './planBuild.ts'
import { digest, image, type Options, outsideOf, plan, requestOf, type World } from './testing/fixture.ts'
import { graphText, stepNames } from './testing/graphText.ts'

const base = 'docker-image://busybox'

const cases: [what: string, text: string, namedContexts: Record<string, string>, ...graph: string[]][] = [
  [
    'an image in the stead of an image',
    'FROM alpine',
    { alpine: base },
    '0 image docker.io/library/busybox:latest',
  ],
  [
    'its tag is part of its name',
    'FROM alpine:3',
    { alpine: base, 'alpine:3': 'https://h/a' },
    '0 http url=https://h/a filename=context',
  ],
  [
    'its full name is the same',
    'FROM docker.io/library/alpine:latest',
    { alpine: base },
    '0 image docker.io/library/busybox:latest',
  ],
  [
    'that of the platform comes first',
    'FROM alpine',
    { alpine: 'https://h/a', 'alpine::linux/amd64': base },
    '0 image docker.io/library/busybox:latest',
  ],
  [
    'that of another platform is another',
    'FROM alpine',
    { 'alpine::linux/arm64': base },
    '0 image docker.io/library/alpine:latest',
  ],
  [
    'in the stead of a stage',
    'FROM alpine AS a\nRUN x\nFROM a\nRUN y',
    { a: base },
    '0 image docker.io/library/busybox:latest',
    '1 exec 0: /bin/sh -c y',
  ],
  [
    'of COPY',
    'FROM scratch\nCOPY --from=c /a /',
    { c: 'local:folder' },
    '0 local folder follow=["a"] exclude=["*.md"]',
    '1 file -: copy 0:/a /',
  ],
  [
    'of a mount',
    'FROM scratch\nRUN --mount=from=c,target=/c x',
    { c: 'git@h:a.git#main' },
    '0 git git@h:a.git ref=main submodules ssh=default',
    '1 exec -: /bin/sh -c x; bind /c 0:/ ro',
  ],
  ['a repository by its address', 'FROM c', { c: 'https://h/a.git' }, '0 git https://h/a.git submodules'],
  ['nothing', 'FROM alpine\nRUN x', { alpine: 'docker-image://scratch' }, '0 exec -: /bin/sh -c x'],
  [
    'names that are never contexts',
    'FROM scratch\nCOPY a /',
    { scratch: base, context: base },
    '0 local context follow=["a"]',
    '1 file -: copy 0:/a /',
  ],
  [
    'used paths of several stages',
    'FROM c AS a\nFROM a AS b\nCOPY --from=c /x /\nFROM scratch\nCOPY --from=b /y /\nCOPY --from=a /z /',
    { c: 'local:folder' },
    '0 local folder follow=["x","y","z"] exclude=["*.md"]',
    '1 file 0: copy 0:/x /',
    '2 file -: copy 1:/y /',
    '3 file 2: copy 0:/z /',
  ],
  [
    'all of it where something runs in it',
    'FROM c AS a\nRUN x\nFROM scratch\nCOPY --from=a /z /',
    { c: 'local:folder' },
    '0 local folder exclude=["*.md"]',
    '1 exec 0: /bin/sh -c x',
    '2 file -: copy 1:/z /',
  ],
  [
    'a copy of all of it where it is the target',
    'FROM c',
    { c: 'local:folder' },
    '0 local folder exclude=["*.md"]',
    '1 file -: copy 0:/ / contents',
  ],
]
for (const [what, text, namedContexts, ...graph] of cases)
  test(`a named context: ${what}`, async () => {
    const { graph: planned } = await plan(
      text,
      { namedContexts },
      { ignoreFiles: { folder: '# all\n*.md\n' } },
    )
    assert.deepEqual(graphText(planned), graph)
  })

test('an image of a layout', async () => {
  const asked: string[] = []
  const world: World = { images: { [`docker.io/library/c@${digest}`]: image({ User: 'u' }) }, asked }
  const namedContexts = { c: `oci-layout://store:latest@${digest}` }
  const { graph, image: config } = await plan('FROM c', { namedContexts }, world)
  assert.deepEqual(graphText(graph), [
    `0 oci-layout session=session store=store reference=docker.io/library/c@${digest}`,
  ])
  assert.equal(config.config?.User, 'u')
  assert.deepEqual(asked, [`[context c] load metadata for docker.io/library/c@${digest} of store`])
})

test('a graph that was planned before', async () => {
  const before = await plan('FROM alpine\nUSER u\nRUN x')
  const inputs = { one: { graph: before.graph, image: before.image } }
  const { graph } = await plan('FROM c\nRUN y', { namedContexts: { c: 'input:one' }, inputs })
  assert.deepEqual(graphText(graph), [
    '0 image docker.io/library/alpine:latest',
    '1 exec 0: /bin/sh -c x user=u',
    '2 exec 1: /bin/sh -c y user=u',
  ])
})

test('a context is shown by its name', async () => {
  const namedContexts = { alpine: base, c: 'local:folder', d: 'https://h/x' }
  const { graph } = await plan('FROM alpine\nCOPY --from=c /a /\nCOPY --from=d /a /', { namedContexts })
  assert.deepEqual(stepNames(graph), [
    '[context alpine] docker.io/library/busybox:latest',
    '[context c] load from client',
    '[stage-0 1/3] COPY --from=c /a /',
    '[context d] https://h/x',
    '[stage-0 2/3] COPY --from=d /a /',
  ])
})

test('the key of a folder is part of its operation', async () => {
  const options: Options = { namedContexts: { c: 'local:folder' }, sharedKeys: { c: 'key' } }
  const { graph } = await planBuild(requestOf('FROM c', options), outsideOf())
  const [local] = [...graph.vertices.values()].map(({ operation }) => operation)
  assert.ok(local?.kind === 'local')
  assert.equal(local.sharedKey, 'context:c-key')
})

const wrong: [specifier: string, message: string][] = [
  ['nothing', 'invalid context specifier nothing for c'],
  ['what:x', 'unsupported context source what for c'],
  ['input:x', 'invalid input x for c'],
  ['oci-layout://x', 'oci-layout reference "x" has no digest'],
  ['git:x', 'invalid git context git:x'],
  ['docker-image://nowhere', 'docker.io/library/nowhere:latest: not found'],
]
for (const [specifier, message] of wrong)
  test(`${specifier}: ${message}`, () =>
    assert.rejects(plan('FROM c', { namedContexts: { c: specifier } }), { message }))
