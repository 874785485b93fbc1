import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { freshPath, makeContext, serving } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { importDebianImages } from './harness/debianImages.ts'
import { must, type Outcome, until } from './harness/shell.ts'

/** What guides have people build: services in stages, packages by a cache, private repositories, secrets. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await importDebianImages(daemon, ['node', 'python', 'golang', 'git', 'gitserver'])
})
after(() => daemon.close())

const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = async (folder: string, ...options: string[]): Promise<Outcome> => {
  const outcome = await daemon.docker(['build', '--progress=plain', ...options, folder], {
    deadline: 300_000,
  })
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome
}

const healthOf = (name: string): Promise<string> =>
  daemon.mustDocker(['inspect', '-f', '{{.State.Health.Status}}', name])

test('a service in TypeScript: three stages, a user who is not root, a health check, an init', async () => {
  const folder = context(
    [
      'FROM node AS dependencies',
      'WORKDIR /app',
      'COPY package.json ./',
      'RUN --mount=type=cache,target=/root/.npm node -e "console.log(process.version)" > version.txt',
      '',
      'FROM node AS build',
      'WORKDIR /app',
      'COPY package.json tsconfig.json ./',
      'COPY src src',
      'RUN tsc -p .',
      '',
      'FROM node',
      'ENV NODE_ENV=production',
      'WORKDIR /app',
      'COPY --from=dependencies /app/package.json /app/version.txt ./',
      'COPY --from=build --chown=node:node /app/dist ./dist',
      'USER node',
      'EXPOSE 3000',
      'HEALTHCHECK --interval=1s --timeout=5s --start-period=10s CMD ["node", "dist/check.js"]',
      'ENTRYPOINT ["tini", "--"]',
      'CMD ["node", "dist/server.js"]',
    ],
    {
      'package.json': '{"name":"service","type":"module"}\n',
      'tsconfig.json': JSON.stringify({
        compilerOptions: { outDir: 'dist', rootDir: 'src', module: 'nodenext', target: 'es2022', types: [] },
        include: ['src'],
      }),
      'src/server.ts': [
        '// @ts-expect-error: without the types of Node',
        "import { createServer } from 'node:http'",
        'const greeting: string = "typed"',
        'createServer((_request: unknown, response: { end(text: string): void }) => response.end(greeting)).listen(3000)',
      ].join('\n'),
      'src/check.ts': [
        'const answer = await fetch("http://127.0.0.1:3000/")',
        'if ((await answer.text()) !== "typed") throw new Error("another answer")',
        'export {}',
      ].join('\n'),
      'src/fetch.d.ts': 'declare function fetch(url: string): Promise<{ text(): Promise<string> }>\n',
    },
  )
  const { stderr } = await build(folder, '-t', 'service')
  assert.match(stderr, /\[build 5\/5\] RUN tsc -p \./)
  await daemon.mustDocker(['run', '-d', '--name', 'service', 'service'])
  await until('it is healthy', async () => (await healthOf('service')) === 'healthy', 120_000)
  assert.equal(
    await daemon.mustDocker([
      'exec',
      'service',
      'sh',
      '-c',
      'id -u; cat /proc/1/cmdline | busybox tr "\\0" " "',
    ]),
    '1000\ntini -- node dist/server.js ',
  )
  assert.equal(
    await daemon.mustDocker(['run', '--rm', '--entrypoint', 'ls', 'service', '/app']),
    'dist\npackage.json\nversion.txt',
  )
  // What changes is built anew, what does not is not.
  const again = await build(folder, '-t', 'service', '--build-arg', 'BUILDKIT_INLINE_CACHE=0')
  assert.match(again.stderr, /\[build 5\/5\] RUN tsc -p \.\n#\d+ CACHED/)
  await daemon.mustDocker(['rm', '-f', 'service'])
})

test('pip with a cache: what one build has made, the next finds', async () => {
  const files = {
    'greeter/pyproject.toml': [
      ...['[build-system]', 'requires = ["setuptools"]', 'build-backend = "setuptools.build_meta"'],
      ...['[project]', 'name = "greeter"', 'version = "1.0"'],
    ].join('\n'),
    'greeter/greeter.py': 'def greet():\n    return "hello"\n',
    'app.py': 'import greeter\nprint(greeter.greet())\n',
  }
  const lines = [
    'FROM python AS build',
    'WORKDIR /src',
    'COPY greeter greeter',
    'RUN --mount=type=cache,target=/wheels,id=wheels \\',
    '    ls /wheels | busybox sed "s/^/found /" && \\',
    '    python3 -m pip wheel --no-index --no-build-isolation -q -w /wheels ./greeter && \\',
    '    python3 -m pip install --no-index --find-links /wheels -q --target /packages greeter',
    'FROM python',
    'COPY --from=build /packages /packages',
    'ENV PYTHONPATH=/packages',
    'COPY app.py /',
    'CMD ["python3", "/app.py"]',
  ]
  const first = await build(context(lines, files), '-t', 'greeter')
  assert.doesNotMatch(first.stderr, /found greeter/)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'greeter']), 'hello')
  const changed = { ...files, 'greeter/greeter.py': 'def greet():\n    return "good day"\n' }
  const second = await build(context(lines, changed), '-t', 'greeter')
  assert.match(second.stderr, /found greeter-1\.0/)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'greeter']), 'good day')
  assert.equal(
    await daemon.mustDocker(['run', '--rm', 'greeter', 'sh', '-c', 'ls /wheels 2>&1; true']),
    'ls: /wheels: No such file or directory',
  )
})

test('a program in Go, alone in its image', async () => {
  const folder = context(
    [
      'FROM golang AS build',
      'WORKDIR /src',
      'COPY go.mod ./',
      'COPY main.go ./',
      'ARG VERSION=none',
      'RUN --mount=type=cache,target=/root/.cache/go-build go build -ldflags "-s -w -X main.version=$VERSION" -o /program .',
      'FROM scratch',
      'COPY --from=build /program /program',
      'USER 65534',
      'ENTRYPOINT ["/program"]',
    ],
    {
      'go.mod': 'module example.org/program\n\ngo 1.19\n',
      'main.go':
        'package main\n\nimport "os"\n\nvar version = ""\n\nfunc main() { os.Stdout.WriteString("version " + version + "\\n") }\n',
    },
  )
  await build(folder, '-t', 'program', '--build-arg', 'VERSION=1.2')
  assert.equal(
    await daemon.mustDocker(['run', '--rm', '--read-only', '--cap-drop', 'ALL', 'program']),
    'version 1.2',
  )
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{len .RootFS.Layers}}', 'program']), '1')
})

/** An agent of ssh with one key; its socket. */
const startAgent = async (key: string): Promise<{ socket: string } & AsyncDisposable> => {
  const socket = freshPath(daemon, 'agent')
  const agent = await serving(daemon, ['ssh-agent', '-D', '-a', socket], ['test', '-S', socket])
  await must(['ssh-add', '-q', key], { env: { SSH_AUTH_SOCK: socket } })
  return { socket, [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() }
}

test('a private repository is cloned with the key of a client’s agent, which stays there', async () => {
  const keys = freshPath(daemon, 'keys')
  mkdirSync(keys, { mode: 0o700 })
  const key = path.join(keys, 'id')
  await must(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'anna', '-f', key])
  const server = context(
    [
      'FROM gitserver',
      'COPY id.pub /root/.ssh/authorized_keys',
      'RUN chmod 700 /root /root/.ssh && chmod 600 /root/.ssh/authorized_keys && git init -q -b main /private && cd /private && \\',
      '    git config user.name a && git config user.email a@example.org && echo inside > file && git add file && git commit -q -m one',
    ],
    { 'id.pub': readFileSync(`${key}.pub`, 'utf8') },
  )
  await build(server, '-t', 'private-server')
  await daemon.mustDocker(['run', '-d', '--name', 'private', 'private-server'])
  const address = await daemon.mustDocker([
    'inspect',
    '-f',
    '{{.NetworkSettings.Networks.bridge.IPAddress}}',
    'private',
  ])
  const isOpen = ['bash', '-c', `exec 3<>/dev/tcp/${address}/22`]
  await until('its server listens', async () => (await daemon.onHost(isOpen)).code === 0)
  await using agent = await startAgent(key)
  const folder = context([
    'FROM git',
    'ENV GIT_SSH_COMMAND="ssh -o StrictHostKeyChecking=accept-new"',
    `RUN --mount=type=ssh git clone -q ssh://root@${address}/private /clone`,
    'RUN cat /clone/file; test -z "$SSH_AUTH_SOCK"',
  ])
  const { stderr } = await build(folder, '--ssh', `default=${agent.socket}`, '-t', 'cloned')
  assert.match(stderr, /\d inside\n/)
  const without = await daemon.docker(['build', '--no-cache', folder])
  assert.match(without.stderr, /Permission denied|unset ssh forward key default/)
  await daemon.mustDocker(['rm', '-f', 'private'])
})

/** Whether a text is in any file below. */
const isIn = async (folder: string, text: string): Promise<string> =>
  (await daemon.onHost(['grep', '-rlF', text, folder])).stdout

test('a secret is in no layer, no history, no record and no log', async () => {
  const secret = 'token-5f2c9a71d0'
  const folder = context([
    'FROM node AS build',
    'RUN --mount=type=secret,id=token,required test -s /run/secrets/token && cat /run/secrets/token | busybox wc -c > /length',
    'RUN --mount=type=secret,id=token,env=TOKEN test -n "$TOKEN"',
    'FROM node',
    'COPY --from=build /length /length',
  ])
  const { stdout, stderr } = await daemon.docker(
    ['build', '--progress=plain', '--secret', 'id=token,env=TOKEN_OF_CLIENT', '-t', 'secretive', folder],
    { env: { TOKEN_OF_CLIENT: secret } },
  )
  assert.doesNotMatch(stdout + stderr, new RegExp(secret))
  const length = await daemon.mustDocker(['run', '--rm', 'secretive', 'cat', '/length'])
  assert.equal(length.trim(), String(secret.length))
  assert.equal(await isIn(daemon.dataRoot, secret), '')
  assert.equal(await isIn(daemon.execRoot, secret), '')
  assert.doesNotMatch(daemon.log, new RegExp(secret))
  const archive = freshPath(daemon, 'saved.tar')
  await daemon.mustDocker(['save', '-o', archive, 'secretive'])
  assert.ok(!readFileSync(archive).includes(secret))
})
