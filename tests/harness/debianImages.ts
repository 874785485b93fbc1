import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { projectRoot } from './images.ts'
import { must } from './shell.ts'

/**
 * Images of real systems, made from Debian's and npm's packages and kept in `.cache/images`: Debian itself, PostgreSQL,
 * Redis, a web service on Node that uses both, the reaper of tests, and languages with their compilers.
 */
interface DebianImage {
  tag: string
  /** None where it is a whole system, as debootstrap makes it. */
  packages: string[]
  /** Instructions, as `docker import --change` takes them. */
  changes: string[]
  /** Made anew each time: it holds a program that belongs to the tests. */
  fresh?: boolean
  /** Completes the unpacked root. */
  finish: (root: string) => void
}

const script = (file: string, lines: string[]): void => {
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, `#!/bin/sh\nset -e\n${lines.join('\n')}\n`, { mode: 0o755 })
}

/** `sh` and what scripts need of it; users that Debian's own scripts would make. */
const common = (root: string, user?: { name: string; id: number; home: string }): void => {
  cpSync('/bin/busybox', path.join(root, 'usr/bin/busybox'))
  for (const name of ['sh', 'mkdir', 'chown', 'chmod', 'cat', 'sleep', 'id', 'ls', 'wget', 'env', 'stat'])
    if (!existsSync(path.join(root, 'usr/bin', name)))
      script(path.join(root, 'usr/bin', name), [`exec /usr/bin/busybox ${name} "$@"`])
  rmSync(path.join(root, 'usr/bin/sh'), { force: true })
  cpSync('/bin/busybox', path.join(root, 'usr/bin/sh'))
  for (const folder of ['root', 'etc', 'tmp', 'proc', 'sys', 'dev', 'run'])
    mkdirSync(path.join(root, folder), { recursive: true })
  const entry = user ? `${user.name}:x:${user.id}:${user.id}::${user.home}:/bin/sh\n` : ''
  writeFileSync(path.join(root, 'etc/passwd'), `root:x:0:0:root:/root:/bin/sh\n${entry}`)
  writeFileSync(path.join(root, 'etc/group'), `root:x:0:\n${user ? `${user.name}:x:${user.id}:\n` : ''}`)
  chmodSync(path.join(root, 'tmp'), 0o1777)
}

const modules = path.join(projectRoot, 'node_modules')

/** A package of npm and all that it needs. */
const withDependencies = (name: string, found = new Set<string>()): Set<string> => {
  const manifest = path.join(modules, name, 'package.json')
  if (found.has(name) || !existsSync(manifest)) return found
  found.add(name)
  const { dependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies?: object }
  for (const dependency of Object.keys(dependencies)) withDependencies(dependency, found)
  return found
}

const images: Record<string, DebianImage> = {
  debian: { tag: 'debian:latest', packages: [], changes: ['CMD ["bash"]'], finish: () => {} },
  postgres: {
    tag: 'postgres:latest',
    packages: ['postgresql'],
    changes: [
      ...['ENTRYPOINT ["docker-entrypoint.sh"]', 'USER postgres', 'EXPOSE 5432/tcp', 'STOPSIGNAL SIGINT'],
      ...['ENV PGDATA=/var/lib/postgresql/data', 'VOLUME /var/lib/postgresql/data'],
    ],
    finish: root => {
      common(root, { name: 'postgres', id: 999, home: '/var/lib/postgresql' })
      // What only the just-in-time compiler and Debian's own tools need is two thirds of it all.
      for (const pattern of ['usr/lib/*/libLLVM*', 'usr/lib/*/perl*', 'usr/share/perl*', 'usr/lib/llvm*'])
        for (const found of globSync(pattern, { cwd: root }))
          rmSync(path.join(root, found), { recursive: true })
      const [programs = ''] = globSync('usr/lib/postgresql/*/bin', { cwd: root })
      const data = path.join(root, 'var/lib/postgresql/data')
      mkdirSync(data, { recursive: true, mode: 0o700 })
      mkdirSync(path.join(root, 'var/run/postgresql'), { recursive: true })
      chmodSync(path.join(root, 'var/run/postgresql'), 0o777)
      script(path.join(root, 'usr/bin/docker-entrypoint.sh'), [
        `export PATH=/${programs}:$PATH`,
        'if [ ! -s "$PGDATA/PG_VERSION" ]; then',
        '  initdb --auth=trust --username=postgres --locale=C.UTF-8 --encoding=UTF8 >/dev/null',
        '  echo "host all all all trust" >>"$PGDATA/pg_hba.conf"',
        'fi',
        '[ "$1" != ready ] || exec pg_isready -q -h 127.0.0.1 -U postgres',
        'exec postgres -c listen_addresses="*" -c jit=off -c shared_buffers=16MB "$@"',
      ])
    },
  },
  redis: {
    tag: 'redis:latest',
    packages: ['redis-server'],
    changes: [
      'CMD ["redis-server", "--protected-mode", "no", "--dir", "/data"]',
      'EXPOSE 6379/tcp',
      'VOLUME /data',
      'USER redis',
    ],
    finish: root => {
      common(root, { name: 'redis', id: 998, home: '/data' })
      mkdirSync(path.join(root, 'data'))
    },
  },
  pages: {
    tag: 'pages:latest',
    fresh: true,
    packages: ['libatomic1', 'libstdc++6'],
    changes: ['CMD ["node", "/app/pages.mjs"]', 'EXPOSE 3000/tcp', 'WORKDIR /app'],
    finish: root => {
      common(root)
      cpSync(process.execPath, path.join(root, 'usr/bin/node'))
      const app = path.join(root, 'app')
      for (const name of [...withDependencies('pg'), ...withDependencies('@redis/client')])
        cpSync(path.join(modules, name), path.join(app, 'node_modules', name), { recursive: true })
      cpSync(path.join(projectRoot, 'tests/stories/pages.mjs'), path.join(app, 'pages.mjs'))
    },
  },
  reaper: {
    tag: 'testcontainers/ryuk:latest',
    fresh: true,
    packages: ['libatomic1', 'libstdc++6'],
    changes: ['CMD ["node", "/reaper.mjs"]', 'EXPOSE 8080/tcp'],
    finish: root => {
      common(root)
      cpSync(process.execPath, path.join(root, 'usr/bin/node'))
      cpSync(path.join(projectRoot, 'tests/stories/reaper.mjs'), path.join(root, 'reaper.mjs'))
    },
  },
}

/** What examples of guides begin with: languages, and both sides of a private repository. */
const languages: Record<string, DebianImage> = {
  node: {
    tag: 'node:latest',
    packages: ['libatomic1', 'libstdc++6', 'tini'],
    changes: ['CMD ["node"]'],
    finish: root => {
      common(root, { name: 'node', id: 1000, home: '/home/node' })
      mkdirSync(path.join(root, 'home/node'), { recursive: true })
      cpSync(process.execPath, path.join(root, 'usr/bin/node'))
      const library = path.join(root, 'usr/lib/node_modules')
      for (const name of ['typescript', `@typescript/typescript-linux-${process.arch}`])
        cpSync(path.join(modules, name), path.join(library, name), { recursive: true })
      script(path.join(root, 'usr/bin/tsc'), ['exec node /usr/lib/node_modules/typescript/bin/tsc "$@"'])
    },
  },
  python: {
    tag: 'python:latest',
    packages: ['python3', 'python3-pip', 'python3-wheel', 'python3-setuptools'],
    changes: ['CMD ["python3"]'],
    finish: root => {
      common(root)
      // What a script of ca-certificates makes, and pip of Debian 13 reads.
      const bundle = globSync(path.join(root, 'usr/share/ca-certificates/**/*.crt')).map(file =>
        readFileSync(file),
      )
      mkdirSync(path.join(root, 'etc/ssl/certs'), { recursive: true })
      writeFileSync(path.join(root, 'etc/ssl/certs/ca-certificates.crt'), Buffer.concat(bundle))
    },
  },
  golang: {
    tag: 'golang:latest',
    packages: ['golang-go'],
    changes: ['ENV CGO_ENABLED=0', 'ENV GOFLAGS=-mod=mod'],
    finish: root => common(root),
  },
  git: {
    tag: 'git:latest',
    packages: ['git', 'openssh-client'],
    changes: [],
    finish: root => common(root),
  },
  gitserver: {
    tag: 'gitserver:latest',
    packages: ['git', 'dropbear-bin'],
    changes: ['CMD ["dropbear", "-R", "-F", "-E", "-s"]'],
    finish: root => {
      common(root)
      mkdirSync(path.join(root, 'etc/dropbear'), { recursive: true })
      writeFileSync(path.join(root, 'etc/shells'), '/bin/sh\n')
    },
  },
}

/** Owners in the archive: of what the user of the image must be able to write. */
const owners: Record<string, [folder: string, id: number]> = {
  postgres: ['var/lib/postgresql', 999],
  redis: ['data', 998],
}

const makeArchive = async (name: string, image: DebianImage, target: string): Promise<void> => {
  const root = `${target}.root.${process.pid}`
  try {
    const made =
      image.packages.length > 0 ? ['debian-root', root, ...image.packages] : ['debian-system', root]
    const [program = '', ...args] = made
    await must([path.join(projectRoot, 'scripts', program), ...args], { deadline: 300_000 })
    image.finish(root)
    const [folder, id] = owners[name] ?? []
    if (folder) await must(['chown', '-R', `${id}:${id}`, path.join(root, folder)])
    await must(['tar', '-C', root, '--numeric-owner', '-cf', `${target}.${process.pid}`, '.'])
    renameSync(`${target}.${process.pid}`, target)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** The archive of an image's file system, made where it is not there, and the query of `POST /images/create` for it. */
export const debianImage = async (
  name: string,
): Promise<{ archive: string; tag: string; changes: string[] }> => {
  const image = images[name] ?? languages[name]
  if (!image) throw new Error(`no image ${name} is made here`)
  const archive = path.join(projectRoot, '.cache/images', `${name}-2.tar`)
  mkdirSync(path.dirname(archive), { recursive: true })
  if (image.fresh || !existsSync(archive)) await makeArchive(name, image, archive)
  return { archive, tag: image.tag, changes: image.changes }
}

/** Has a daemon know these images, by their names. */
export const importDebianImages = async (daemon: TestDaemon, names: string[]): Promise<void> => {
  for (const name of names) {
    const { archive, tag, changes } = await debianImage(name)
    const words = changes.flatMap(change => ['--change', change])
    await daemon.mustDocker(['import', ...words, archive, tag], { deadline: 300_000 })
  }
}
