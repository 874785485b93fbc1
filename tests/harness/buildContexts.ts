import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { must, until } from './shell.ts'

/** What tests build from: folders, repositories, and servers of both. All go with the daemon's folder. */

let count = 0

/** A path that nothing has yet. */
export const freshPath = (daemon: TestDaemon, name: string): string =>
  path.join(daemon.base, `${name}-${count++}`)

export const writeFiles = (folder: string, files: Record<string, string>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), content)
  }
}

/** A folder with these files; `Dockerfile` as lines. */
export const makeContext = (
  daemon: TestDaemon,
  lines: string[],
  files: Record<string, string> = {},
): string => {
  const folder = freshPath(daemon, 'context')
  writeFiles(folder, { Dockerfile: `${lines.join('\n')}\n`, ...files })
  return folder
}

/** A server in the daemon's network, until it is disposed of; `check` succeeds once it serves. */
export const serving = async (
  daemon: TestDaemon,
  command: string[],
  check: string[],
): Promise<AsyncDisposable> => {
  const server = spawn('nsenter', [`--net=${daemon.namespace}`, ...command], { stdio: 'ignore' })
  await until(`${command[0]} serves`, async () => (await daemon.onHost(check)).code === 0)
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = once(server, 'close')
      server.kill('SIGKILL')
      await ended
    },
  }
}

/** The files of a folder, at `http://127.0.0.1:8123/`. */
export const servingFiles = (daemon: TestDaemon, folder: string, file: string): Promise<AsyncDisposable> =>
  serving(
    daemon,
    ['python3', '-m', 'http.server', '-b', '127.0.0.1', '-d', folder, '8123'],
    ['curl', '-sf', `http://127.0.0.1:8123/${file}`],
  )

interface TestRepository extends AsyncDisposable {
  folder: string
  git(...words: string[]): Promise<string>
  commit(changed: Record<string, string>): Promise<void>
}

/** A repository with a commit of these files on `main`, at `git://127.0.0.1/repository`. */
export const servedRepository = async (
  daemon: TestDaemon,
  files: Record<string, string>,
): Promise<TestRepository> => {
  const base = freshPath(daemon, 'repositories')
  const folder = path.join(base, 'repository')
  const git = (...words: string[]): Promise<string> =>
    must(['git', '-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...words])
  const commit = async (changed: Record<string, string>): Promise<void> => {
    writeFiles(folder, changed)
    await git('add', '.')
    await git('commit', '-qm', 'one more')
  }
  mkdirSync(folder, { recursive: true })
  await git('init', '-q', '-b', 'main')
  await commit(files)
  // By its own name: `git daemon` would start it as a child, which outlives its end.
  const gitDaemon = `${await must(['git', '--exec-path'])}/git-daemon`
  const server = await serving(
    daemon,
    [
      gitDaemon,
      '--reuseaddr',
      '--export-all',
      `--base-path=${base}`,
      '--listen=127.0.0.1',
      '--port=9418',
      base,
    ],
    ['git', 'ls-remote', 'git://127.0.0.1/repository'],
  )
  return { folder, git, commit, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

/** What a shell says in a container of an image. */
export const inImage = (daemon: TestDaemon, image: string, script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', image, 'sh', '-c', script])

export const idOfImage = (daemon: TestDaemon, image: string): Promise<string> =>
  daemon.mustDocker(['inspect', '-f', '{{.Id}}', image])
