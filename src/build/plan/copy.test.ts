import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Options, plan } from './testing/fixture.ts'
import { graphText } from './testing/graphText.ts'

/** What a stage with these instructions, on an image of its own, comes to. */
const cases: [text: string, ...graph: string[]][] = [
  ['COPY a b', '1 local context follow=["a"]', '2 file 0: copy 1:/a /b'],
  ['COPY a b/', '1 local context follow=["a"]', '2 file 0: copy 1:/a /b/'],
  ['COPY . .', '1 local context', '2 file 0: copy 1:/ /'],
  ['COPY a ./b/.', '1 local context follow=["a"]', '2 file 0: copy 1:/a /b/.'],
  ['COPY ./a/../b/ /x//y/', '1 local context follow=["b"]', '2 file 0: copy 1:/b /x/y/'],
  ['COPY ../../a /x', '1 local context follow=["a"]', '2 file 0: copy 1:/a /x'],
  ['COPY a* b? /x/', '1 local context follow=["a*","b?"]', '2 file 0: copy 1:/a* /x/; copy 1:/b? /x/'],
  ['COPY ["a b", "/c d"]', '1 local context follow=["a b"]', '2 file 0: copy 1:/a b /c d'],
  [
    'WORKDIR /w\nCOPY a b/',
    '1 file 0: mkdir /w',
    '2 local context follow=["a"]',
    '3 file 1: copy 2:/a /w/b/',
  ],
  [
    'COPY a /x\nCOPY b /y',
    '1 local context follow=["a","b"]',
    '2 file 0: copy 1:/a /x',
    '3 file 2: copy 1:/b /y',
  ],
  ['COPY a /x\nCOPY . /y', '1 local context', '2 file 0: copy 1:/a /x', '3 file 2: copy 1:/ /y'],
  [
    'COPY --chown=1:2 --chmod=755 a /',
    '1 local context follow=["a"]',
    '2 file 0: copy 1:/a / owner=1:2 mode=755',
  ],
  ['COPY --chown=root:staff a /', '1 local context follow=["a"]', '2 file 0: copy 1:/a / owner=0:staff'],
  [
    'COPY --chown=:5 --chmod=u=rwX,go=rX a /',
    '1 local context follow=["a"]',
    '2 file 0: copy 1:/a / owner=:5 mode=u=rwX,go=rX',
  ],
  [
    'COPY --exclude=*.md --exclude=b a /',
    '1 local context follow=["a"]',
    '2 file 0: copy 1:/a / exclude=["*.md","b"]',
  ],
  [
    'COPY --parents a/b /x/',
    '1 local context follow=["a/b"]',
    '2 file 0: copy 1:/ /x/ include=["a/b"] keepParents strict',
  ],
  [
    'COPY --parents a/./b/*.c /x/',
    '1 local context follow=["a/b/*.c"]',
    '2 file 0: copy 1:/a /x/ include=["b/*.c"] keepParents',
  ],
  ['COPY --link a /', '1 local context follow=["a"]', '2 file -: copy 1:/a /', '3 merge 0 2'],
  ['COPY --link --chmod=600 a /', '1 local context follow=["a"]', '2 file 0: copy 1:/a / mode=600'],
  [
    'COPY <<A /x\nhi $PATH\nA',
    '1 file -: write /A "hi /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\\n"',
    '2 file 0: copy 1:/A /x plain',
  ],
  [
    "COPY <<'A' <<B /x/\n$Q\nA\nb\nB",
    '1 file -: write /A "$Q\\n"',
    '2 file -: write /B "b\\n"',
    '3 file 0: copy 1:/A /x/ plain; copy 2:/B /x/ plain',
  ],
  ['COPY --from=busybox /a /b', '1 image docker.io/library/busybox:latest', '2 file 0: copy 1:/a /b'],
  ['COPY --from=scratch /a /b', '1 file 0: copy -:/a /b'],
  ['ARG S=a\nENV D=/d\nCOPY ${S} $D/', '1 local context follow=["a"]', '2 file 0: copy 1:/a /d/'],
  ['ADD a.tgz /', '1 local context follow=["a.tgz"]', '2 file 0: copy 1:/a.tgz / unpack'],
  ['ADD --unpack=false a.tgz /', '1 local context follow=["a.tgz"]', '2 file 0: copy 1:/a.tgz /'],
  [
    'ADD https://h/x/y.tgz?z /',
    '1 http url=https://h/x/y.tgz?z filename=y.tgz',
    '2 file 0: copy 1:/y.tgz / plain',
  ],
  [
    'ADD --unpack https://h /',
    '1 http url=https://h filename=__unnamed__',
    '2 file 0: copy 1:/__unnamed__ / unpack plain',
  ],
  [
    `ADD --checksum=sha256:${'a'.repeat(64)} http://h/x /`,
    `1 http url=http://h/x filename=x checksum=sha256:${'a'.repeat(64)}`,
    '2 file 0: copy 1:/x / plain',
  ],
  [
    'ADD https://h/a.git#v1:sub /x',
    '1 git https://h/a.git ref=v1 subdirectory=sub submodules',
    '2 file 0: copy 1:/ /x contents',
  ],
  [
    'ADD --keep-git-dir --checksum=abc git@h:a.git /x',
    '1 git git@h:a.git keepGitDirectory submodules checksum=abc ssh=default',
    '2 file 0: copy 1:/ /x contents',
  ],
  [
    'ADD github.com/a/b.git /x',
    '1 local context follow=["github.com/a/b.git"]',
    '2 file 0: copy 1:/github.com/a/b.git /x unpack',
  ],
]
for (const [text, ...graph] of cases)
  test(JSON.stringify(text), async () => {
    const { graph: planned } = await plan(`FROM alpine\n${text}`)
    assert.deepEqual(graphText(planned).slice(1), graph)
  })

const wrong: [text: string, message: string][] = [
  ['COPY --chmod=8 a /', "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777"],
  [
    'COPY --chmod=77777 a /',
    "invalid chmod parameter: '77777'. it should be octal string and between 0 and 07777",
  ],
  [
    'COPY --chmod=0o755 a /',
    "invalid chmod parameter: '0o755'. it should be octal string and between 0 and 07777",
  ],
  ['COPY --chmod=u+r, a /', 'invalid syntax'],
  ['COPY --chmod=rwx a /', 'invalid syntax'],
  ['COPY https://h/x /', "source can't be a URL for COPY"],
  ['COPY https://h/x.git /', "source can't be a git ref for COPY"],
  ['COPY --from=9 a /', 'invalid stage index 9'],
  [
    'COPY --from=$A a /',
    'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
  ],
  ['ADD --checksum=sha256:a a /', 'checksum requires HTTP(S) or Git sources'],
  ['ADD --checksum=sha256:a http://h/a http://h/b /', "checksum can't be specified for multiple sources"],
  ['ADD --checksum=sha256:a http://h/a /', 'invalid checksum digest length'],
  ['ADD --checksum=nothing http://h/a /', 'invalid checksum digest format'],
  ['ADD --checksum=md5:abc http://h/a /', 'unsupported digest algorithm'],
  ['ADD --checksum=a https://h/a.git?checksum=b /', 'checksum mismatch "a" != "b"'],
  ['ADD --keep-git-dir=false https://h/a.git?keep-git-dir /', 'inconsistent keep-git-dir configuration'],
  ['ADD https://h/a.git?x=y /', 'unexpected query "x"'],
]
for (const [text, message] of wrong)
  test(`${text}: ${message}`, async () => {
    await assert.rejects(plan(`FROM alpine\n${text}`), error => {
      assert.deepEqual(
        [(error as Error).message, (error as { ranges: unknown[] }).ranges],
        [message, [{ start: { line: 2, column: 0 }, end: { line: 2, column: text.length } }]],
      )
      return true
    })
  })

test('a layer of files on nothing needs no merge', async () => {
  const { graph } = await plan('FROM scratch\nCOPY --link a /')
  assert.deepEqual(graphText(graph), ['0 local context follow=["a"]', '1 file -: copy 0:/a /'])
})

const contexts: [what: string, context: Options['context'] & {}, ...graph: string[]][] = [
  [
    'with a .dockerignore',
    { kind: 'local', name: 'context', sharedKey: 'k', exclude: ['*.md', '!README.md'] },
    '1 local context follow=["a"] exclude=["*.md","!README.md"]',
    '2 file 0: copy 1:/a /',
  ],
  [
    'of a repository',
    { kind: 'git', url: 'https://h/a.git#main' },
    '1 git https://h/a.git ref=main submodules',
    '2 file 0: copy 1:/a /',
  ],
  [
    'of an address',
    { kind: 'http', url: 'https://h/a', archive: false },
    '1 http url=https://h/a filename=context',
    '2 file 0: copy 1:/a /',
  ],
  [
    'of an archive, below a folder',
    { kind: 'http', url: 'https://h/a', archive: true, subdirectory: 'x' },
    '1 http url=https://h/a filename=context',
    '2 file -: copy 1:/context / unpack plain existing',
    '3 file -: copy 2:/x / contents existing',
    '4 file 0: copy 3:/a /',
  ],
]
for (const [what, context, ...graph] of contexts)
  test(`a context ${what}`, async () => {
    const { graph: planned } = await plan('FROM alpine\nCOPY a /', { context })
    assert.deepEqual(graphText(planned).slice(1), graph)
  })

test('a git context keeps its repository where an argument says so', async () => {
  const { graph } = await plan('FROM alpine\nCOPY a /', {
    context: { kind: 'git', url: 'https://h/a.git' },
    arguments: { BUILDKIT_CONTEXT_KEEP_GIT_DIR: '1' },
  })
  assert.equal(graphText(graph)[1], '1 git https://h/a.git keepGitDirectory submodules')
})

test('a context that is no repository is refused', () =>
  assert.rejects(plan('FROM alpine', { context: { kind: 'git', url: 'https://h/a' } }), {
    message: 'invalid git context https://h/a',
  }))
