import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { BerthError, internal, unavailable } from '../core/errors.ts'
import { isMountRoot } from '../linux/mount.ts'
import { refuseWithoutPipes } from '../linux/spawn.ts'

/**
 * Unmounts in helper processes, because an unmount syncs a whole filesystem
 * and can hang for ever. A helper reads one path a line and answers each with
 * `ok` or `failed REASON`: `berth-monitor unmount`, which makes the call itself,
 * or a shell, which starts umount for each. It ends with our end of its input,
 * so none outlives the daemon for long. One that does not answer in time is
 * abandoned: it ends when its unmount does. Busy and abandoned together they
 * are never more than `HELPERS`.
 */

const HELPERS = 8
const DEADLINE_MS = 30_000
// A busy mount is detached: it goes when its last user does.
const LOOP = `while IFS= read -r path; do
  if text=$(umount -- "$path" 2>&1) || text=$(umount -l -- "$path" 2>&1); then echo ok; else echo "failed $text" | tr '\\n' ' '; echo; fi
done`

interface Helper {
  child: ChildProcess
  busy: boolean
  answer: (line: string) => void
}

const SHELL = ['/bin/sh', '-c', LOOP]

const startHelper = (command: readonly string[], onEnd: (helper: Helper) => void): Helper => {
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  })
  const helper: Helper = { child, busy: false, answer: () => {} }
  const ended = (): void => {
    onEnd(helper)
    helper.answer('failed the helper process ended')
  }
  child.on('error', ended)
  child.on('exit', ended)
  refuseWithoutPipes(child, file)
  createInterface({ input: child.stdout }).on('line', line => helper.answer(line))
  child.stdin.on('error', () => {})
  unreference(child)
  return helper
}

// An idle helper keeps nothing alive.
const unreference = (child: ChildProcess): void => {
  child.unref()
  for (const stream of [child.stdin, child.stdout])
    if (stream && 'unref' in stream) (stream.unref as () => void)()
}

const refused = (path: string, answer: string): Error =>
  internal(`cannot unmount ${path}: ${answer.replace(/^failed /, '')}`)

export class Unmounter implements Disposable {
  readonly #helpers: Helper[] = []
  readonly #waiting: ((helper: Helper) => void)[] = []
  readonly #deadline: number
  readonly #command: readonly string[]
  #abandoned = 0

  /** `helper` is the command of a helper, with its arguments. */
  constructor(options: { deadlineMs?: number; helper?: readonly string[] } = {}) {
    this.#deadline = options.deadlineMs ?? DEADLINE_MS
    this.#command = options.helper ?? SHELL
  }

  /** Unmounts; a path that is no mount is fine. Errors: `unmount-timeout`, `internal` with umount's words. */
  async unmount(path: string): Promise<void> {
    if (!isMountRoot(path)) return
    const answer = await this.#answer(path)
    if (answer !== 'ok' && isMountRoot(path)) throw refused(path, answer)
  }

  /** As `unmount`, of what is known to be mounted: this process never touches the path, whose file system may hang. */
  async unmountKnown(path: string): Promise<void> {
    const answer = await this.#answer(path)
    if (answer !== 'ok') throw refused(path, answer)
  }

  [Symbol.dispose](): void {
    for (const helper of this.#helpers.splice(0)) helper.child.stdin?.end()
  }

  async #answer(path: string): Promise<string> {
    if (path.includes('\n'))
      throw internal(`cannot unmount ${JSON.stringify(path)}: its name has a line break`)
    return await this.#ask(await this.#take(), path)
  }

  async #ask(helper: Helper, path: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    helper.answer = resolve
    const timer = setTimeout(() => resolve(undefined), this.#deadline)
    helper.child.stdin?.write(`${path}\n`)
    const answer = await promise
    clearTimeout(timer)
    if (answer === undefined) {
      this.#abandon(helper)
      throw new BerthError(
        'unmount-timeout',
        500,
        `unmounting ${path} does not end; it goes on in the background`,
      )
    }
    this.#release(helper)
    return answer
  }

  async #take(): Promise<Helper> {
    const idle = this.#helpers.find(helper => !helper.busy)
    if (idle) {
      idle.busy = true
      return idle
    }
    if (this.#helpers.length + this.#abandoned < HELPERS) {
      const helper = startHelper(this.#command, ended => this.#drop(ended))
      helper.busy = true
      this.#helpers.push(helper)
      return helper
    }
    if (this.#helpers.length === 0)
      throw unavailable(
        `cannot unmount: ${HELPERS} unmounts hang already (see the kernel's log for the filesystem)`,
      )
    return await new Promise(resolve => this.#waiting.push(resolve))
  }

  #release(helper: Helper): void {
    helper.answer = () => {}
    const next = this.#waiting.shift()
    if (next && this.#helpers.includes(helper)) next(helper)
    else helper.busy = false
  }

  /** It still hangs in the kernel; its place is free again when it has ended. */
  #abandon(helper: Helper): void {
    this.#abandoned++
    this.#drop(helper)
    helper.answer = () => {}
    helper.child.once('exit', () => this.#abandoned--)
    helper.child.stdin?.end()
  }

  #drop(helper: Helper): void {
    const index = this.#helpers.indexOf(helper)
    if (index >= 0) this.#helpers.splice(index, 1)
  }
}
