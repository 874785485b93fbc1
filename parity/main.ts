import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { removeGroup } from '../bench/groups.ts'
import { startOurs } from '../bench/ours.ts'
import { startPeer } from '../bench/peer.ts'
import { projectRoot } from '../tests/harness/images.ts'
import { type Outcome, run } from '../tests/harness/shell.ts'
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

/** What a line made is no other line's. */
const cleanUp = `
ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -f -v $ids
docker network prune -f; docker volume prune -af
for name in $(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v '^busybox:latest$'); do docker rmi -f $name; done`

class Engine {
  readonly #env: Record<string, string>
  readonly #work: string

  constructor(socket: string, base: string) {
    this.#work = path.join(base, 'work')
    mkdirSync(path.join(base, 'client'), { recursive: true })
    writeFileSync(path.join(base, 'client/config.json'), '{}')
    this.#env = {
      DOCKER_HOST: `unix://${socket}`,
      DOCKER_CONFIG: path.join(base, 'client'),
      PATH: `${path.join(projectRoot, '.cache/clients')}:${process.env['PATH']}`,
    }
  }

  async run(script: string): Promise<Outcome> {
    mkdirSync(this.#work, { recursive: true })
    const outcome = await run(['sh', '-c', `cd ${this.#work} && { ${script}\n}`], { env: this.#env })
    await run(['sh', '-c', cleanUp], { env: this.#env })
    rmSync(this.#work, { recursive: true, force: true })
    return outcome
  }
}

const shown = ({ code, stdout, stderr }: Outcome): string =>
  mask(`exit ${code}\n${stdout}${stderr === '' ? '' : `stderr: ${stderr}`}`).trimEnd()

const indented = (text: string): string => text.replace(/^/gm, '    ')

const compareAll = async (ours: Engine, theirs: Engine, lines: readonly Line[]): Promise<number> => {
  let unexplained = 0
  for (const { topic, text } of lines) {
    const [mine, other] = (await Promise.all([ours.run(text), theirs.run(text)])).map(shown)
    if (mine === other) continue
    const reason = explained.find(({ line }) => line.test(text))
    if (reason) continue
    unexplained++
    process.stdout.write(
      `${topic}: ${text}\n  berth:\n${indented(mine ?? '')}\n  dockerd:\n${indented(other ?? '')}\n\n`,
    )
  }
  return unexplained
}

const main = async (args: string[]): Promise<void> => {
  const at = args.indexOf('--grep')
  const grep = at < 0 ? '' : (args.splice(at, 2)[1] ?? '')
  const lines = readLines({ topics: args, grep })
  const base = `berth-parity-${randomBytes(3).toString('hex')}`
  const ours = await startOurs(base)
  const peer = await startPeer(base)
  const folders = ['ours', 'theirs'].map(name => `/tmp/${base}-${name}`)
  try {
    const [mine, theirs] = [
      new Engine(ours.socket, folders[0] ?? ''),
      new Engine(peer.socket, folders[1] ?? ''),
    ]
    const unexplained = await compareAll(mine, theirs, lines)
    process.stdout.write(`${lines.length} lines, ${unexplained} with a difference that is not explained\n`)
    process.exitCode = unexplained > 0 ? 1 : 0
  } finally {
    await peer.close()
    await ours.close()
    for (const each of folders) rmSync(each, { recursive: true, force: true })
    removeGroup(base)
  }
}

await main(process.argv.slice(2))
