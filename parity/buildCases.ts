import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { projectRoot } from '../tests/harness/images.ts'

export interface BuildCase {
  name: string
  options: string[]
  dockerfile: string
}

const folder = path.join(projectRoot, 'parity/builds')

const readCase = (text: string): BuildCase => {
  const [head = '', ...lines] = text.split('\n')
  const [name = '', options = ''] = head.split(', options: ')
  return {
    name: name.trim(),
    options: options.split(' ').filter(Boolean),
    dockerfile: `${lines.join('\n').trim()}\n`,
  }
}

/** `=== NAME[, options: …]`, then the Dockerfile. */
export const readCases = (grep: string): BuildCase[] =>
  readdirSync(folder)
    .flatMap(file => readFileSync(path.join(folder, file), 'utf8').split(/^=== /m).slice(1))
    .map(readCase)
    .filter(({ name }) => name.includes(grep))

/** The context of all cases: one of each kind of file. */
export const writeContext = (root: string): void => {
  const at = (name: string): string => path.join(root, name)
  const write = (name: string, text: string, mode = 0o644): void => {
    mkdirSync(path.dirname(at(name)), { recursive: true })
    writeFileSync(at(name), text)
    chmodSync(at(name), mode)
  }
  write('plain', 'plain\n')
  write('other.txt', 'other\n')
  write('third.txt', 'third\n')
  write('with space', 'space\n')
  write('.hidden', 'hidden\n')
  write('setuid', 'setuid\n', 0o4755)
  write('private', 'private\n', 0o600)
  write('dir/one', 'one\n')
  write('dir/sub/deep.txt', 'deep\n', 0o664)
  write('dir/sub/run', '#!/bin/sh\n', 0o755)
  write('links/target', 'target\n')
  symlinkSync('target', at('links/inside'))
  symlinkSync('/etc/hostname', at('links/outside'))
  symlinkSync('nothere', at('links/broken'))
  symlinkSync('dir', at('link'))
  write('hard/one', 'hard\n')
  linkSync(at('hard/one'), at('hard/two'))
  write('ignored', 'ignored\n')
  write('.dockerignore', 'ignored\nnothing/**\nDockerfile\nsaved-*\n')
  mkdirSync(at('empty'))
  chmodSync(at('empty'), 0o711)
  write('old', 'old\n')
  const time = new Date('2001-02-03T04:05:06.789Z')
  const tar = ['-C', root, '--sort=name', '--mtime=@1000000000']
  execFileSync('tar', [...tar, '-cf', at('archive.tar'), 'dir', 'links'])
  execFileSync('tar', [...tar, '-czf', at('archive.tar.gz'), 'dir', 'plain'])
  for (const name of ['old', 'dir/one', 'dir/sub', 'dir']) utimesSync(at(name), time, time)
}
