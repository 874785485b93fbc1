import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { removeGroup } from '../bench/groups.ts'
import { startOurs } from '../bench/ours.ts'
import { startPeer } from '../bench/peer.ts'
import { projectRoot } from '../tests/harness/images.ts'
import type { Outcome } from '../tests/harness/shell.ts'
import { compareBuilds } from './builds.ts'
import { Client } from './client.ts'
import { explained } from './explained.ts'
import { mask } from './mask.ts'

/** Runs each line against both engines at the same time, and shows where they differ. */

interface Line {
  topic: string
  text: string
}

const folder = path.join(projectRoot, 'parity/lines')

const readLines = ({ topics, grep }: { topics: string[]; grep: string }): Line[] =>
  readdirSync(folder)
    .map(file => file.replace(/\.txt$/, ''))
    .filter(topic => topics.length === 0 || topics.includes(topic))
    .flatMap(topic =>
      readFileSync(path.join(folder, `${topic}.txt`), 'utf8')
        .split('\n')
        .filter(text => text !== '' && !text.startsWith('#') && text.includes(grep))
        .map(text => ({ topic, text })),
    )

const shown = ({ code, stdout, stderr }: Outcome): string =>
  mask(`exit ${code}\n${stdout}${stderr === '' ? '' : `stderr: ${stderr}`}`).trimEnd()

const indented = (text: string): string => text.replace(/^/gm, '    ')

const compareAll = async (ours: Client, theirs: Client, lines: readonly Line[]): Promise<number> => {
  let unexplained = 0
  for (const { topic, text } of lines) {
    const [mine, other] = (await Promise.all([ours.runAlone(text), theirs.runAlone(text)])).map(shown)
    if (mine === other) continue
    const reason = explained.find(({ line }) => line.test(text))
    if (reason) continue
    unexplained++
    process.stdout.write(
      `${topic}: ${text}\n  berth:\n${indented(mine ?? '')}\n  dockerd:\n${indented(other ?? '')}\n\n`,
    )
  }
  process.stdout.write(`${lines.length} lines, ${unexplained} with a difference that is not explained\n`)
  return unexplained
}

const main = async (args: string[]): Promise<void> => {
  const at = args.indexOf('--grep')
  const grep = at < 0 ? '' : (args.splice(at, 2)[1] ?? '')
  const isOfBuilds = args[0] === 'builds'
  const lines = isOfBuilds ? [] : readLines({ topics: args, grep })
  const base = `berth-parity-${randomBytes(3).toString('hex')}`
  const ours = await startOurs(base)
  const peer = await startPeer(base)
  const folders = ['ours', 'theirs'].map(name => `/tmp/${base}-${name}`)
  try {
    const [mine, theirs] = [
      new Client(ours.socket, folders[0] ?? ''),
      new Client(peer.socket, folders[1] ?? ''),
    ]
    const unexplained = isOfBuilds
      ? await compareBuilds(mine, theirs, grep)
      : await compareAll(mine, theirs, lines)
    process.exitCode = unexplained > 0 ? 1 : 0
  } finally {
    await peer.close()
    await ours.close()
    for (const each of folders) rmSync(each, { recursive: true, force: true })
    removeGroup(base)
  }
}

await main(process.argv.slice(2))
