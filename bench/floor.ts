import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { must, run } from '../tests/harness/shell.ts'
import { remove, runSleeper } from './acts.ts'
import { json } from './client.ts'
import { bornIn, makeGroup, processesOf } from './groups.ts'
import type { Ours } from './ours.ts'
import type { Group } from './types.ts'

/**
 * The least that a run can take: the OCI runtime alone, with the specification
 * that Berth writes, on an overlay and a network namespace that are there already.
 */
export interface Floor {
  readonly group: Group
  /** Names of the runtimes that work here. */
  readonly runtimes: readonly string[]
  run(runtime: string): Promise<void>
  exec(runtime: string): Promise<void>
  /** Has what `spawns` starts counted. */
  inGroup<T>(spawns: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** A shell that waits for commands, so that only the runtime's own start is counted. */
const shellLoop = `
[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
while read -r line; do eval "$line" </dev/null >/dev/null 2>>"$ERRORS"; echo "$?"; done`

class Shell {
  readonly #child: ChildProcess
  readonly #errors: string
  #answer: (code: string) => void = () => {}

  constructor(errors: string) {
    this.#errors = errors
    this.#child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', shellLoop], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ERRORS: errors },
    })
    if (this.#child.stdout) createInterface(this.#child.stdout).on('line', line => this.#answer(line))
  }

  async run(command: string): Promise<void> {
    const code = await new Promise<string>(resolve => {
      this.#answer = resolve
      this.#child.stdin?.write(`${command}\n`)
    })
    if (code !== '0') throw new Error(`${command} ended with ${code}: ${readFileSync(this.#errors, 'utf8')}`)
  }

  close(): void {
    this.#child.stdin?.end()
  }
}

interface Spec {
  root: { path: string }
  process: { args: string[] }
  linux: { cgroupsPath: string; namespaces: { type: string; path?: string }[] }
}

const writeBundle = (folder: string, spec: Spec, options: { args: string[]; group: string }): void => {
  mkdirSync(folder, { recursive: true })
  const namespaces = spec.linux.namespaces.map(entry =>
    entry.type === 'network'
      ? { ...entry, path: `/run/netns/${path.basename(path.dirname(folder))}` }
      : entry,
  )
  const own: Spec = {
    ...spec,
    root: { ...spec.root, path: path.join(path.dirname(folder), 'rootfs') },
    process: { ...spec.process, args: options.args },
    linux: { ...spec.linux, cgroupsPath: options.group, namespaces },
  }
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(own))
}

const works = async (runtime: string): Promise<boolean> => (await run([runtime, '--version'])).code === 0

export const startFloor = async (base: string, ours: Ours): Promise<Floor> => {
  const group = makeGroup(`${base}/floor`)
  const name = `${base}-floor`
  const folder = `/tmp/${name}`
  for (const part of ['upper', 'work', 'rootfs', 'state']) mkdirSync(`${folder}/${part}`, { recursive: true })
  const model = await runSleeper(ours.socket)
  const { GraphDriver } = await json<{ GraphDriver: { Data: { LowerDir: string } } }>(
    ours.socket,
    `GET /containers/${model}/json`,
  )
  const options = `lowerdir=${GraphDriver.Data.LowerDir},upperdir=${folder}/upper,workdir=${folder}/work`
  await must(['mount', '-t', 'overlay', 'overlay', '-o', options, `${folder}/rootfs`])
  await must(['ip', 'netns', 'add', name])
  const spec = JSON.parse(
    readFileSync(path.join(ours.daemon.execRoot, 'containers', model, '1/config.json'), 'utf8'),
  ) as Spec
  const parent = path.join('/', group.path, 'containers')
  writeBundle(`${folder}/once`, spec, { args: ['true'], group: `${parent}/once` })
  writeBundle(`${folder}/stays`, spec, { args: ['sleep', '100000'], group: `${parent}/stays` })
  const shell = await bornIn(group, async () => new Shell(`${folder}/errors`))
  const runtimes: string[] = []
  const start = (runtime: string) => `${runtime} --root ${folder}/state/${runtime}`
  for (const runtime of ['crun', 'runc']) {
    if (!(await works(runtime))) continue
    runtimes.push(runtime)
    // Each sleeper is made when its exec is first asked for: both have the same control group.
  }
  let sleeper = ''
  const drop = async (): Promise<void> => {
    if (sleeper !== '') await shell.run(`${start(sleeper)} delete --force stays`)
    sleeper = ''
  }
  return {
    group,
    runtimes,
    run: runtime => shell.run(`${start(runtime)} run --bundle ${folder}/once once`),
    exec: async runtime => {
      if (sleeper !== runtime) {
        await drop()
        await shell.run(`${start(runtime)} run --detach --bundle ${folder}/stays stays`)
        sleeper = runtime
      }
      await shell.run(`${start(runtime)} exec stays true`)
    },
    inGroup: spawns => bornIn(group, spawns),
    close: async () => {
      await drop()
      shell.close()
      for (const pid of processesOf(path.join(group.path, 'containers'))) process.kill(pid, 'SIGKILL')
      await remove(ours.socket, model)
      await run(['umount', '-l', `${folder}/rootfs`])
      await run(['ip', 'netns', 'del', name])
      if (existsSync(folder)) rmSync(folder, { recursive: true, force: true })
    },
  }
}
