import { BerthError } from '../core/errors.ts'

/**
 * What an OCI runtime says when it refuses to start a process, in Docker's
 * words: one table for every runtime. The exit code is the container's (and
 * `docker run`'s): 127 not found, 126 cannot be executed, 128 all else.
 */
export interface StartFailure {
  exitCode: 126 | 127 | 128
  message: string
}

interface Rule {
  form: RegExp
  exitCode: StartFailure['exitCode']
  /** `$1` is the program's name. */
  words: string
}

const rules: Rule[] = [
  // crun names the path from 1.21 on …
  {
    form: /the path `([^`]*)` exists but it is not executable/,
    exitCode: 126,
    words: 'exec: "$1": permission denied',
  },
  // … and before it says only this of a directory, and of a file that may not be executed.
  {
    form: /open executable: Operation not permitted/,
    exitCode: 126,
    words: 'exec: "$1": is a directory: permission denied',
  },
  { form: /open executable: Permission denied/, exitCode: 126, words: 'exec: "$1": permission denied' },
  // runc: exec: "foo": executable file not found in $PATH
  {
    form: /exec: "([^"]*)": executable file not found in \$PATH/,
    exitCode: 127,
    words: 'exec: "$1": executable file not found in $PATH',
  },
  // crun says it of a path, too, which no $PATH was asked about.
  {
    form: /executable file `([^`]*\/[^`]*)` not found/,
    exitCode: 127,
    words: 'exec: "$1": stat $1: no such file or directory',
  },
  // crun: executable file `foo` not found in $PATH: No such file or directory
  {
    form: /executable file `([^`]*)` not found(?: in \$PATH)?/,
    exitCode: 127,
    words: 'exec: "$1": executable file not found in $PATH',
  },
  {
    form: /exec: "([^"]*)": stat [^:]*: no such file or directory/,
    exitCode: 127,
    words: 'exec: "$1": stat $1: no such file or directory',
  },
  {
    form: /(?:open executable|exec(?:ve)?(?: container process)?) `?([^`:]*)`?: No such file or directory/,
    exitCode: 127,
    words: 'exec: "$1": stat $1: no such file or directory',
  },
  {
    form: /exec: "([^"]*)": (?:.*: )?permission denied/i,
    exitCode: 126,
    words: 'exec: "$1": permission denied',
  },
  {
    form: /(?:open executable|exec(?:ve)?(?: container process)?) `?([^`:]*)`?: Permission denied/,
    exitCode: 126,
    words: 'exec: "$1": permission denied',
  },
  {
    form: /exec: "([^"]*)": is a directory/i,
    exitCode: 126,
    words: 'exec: "$1": is a directory: permission denied',
  },
  {
    form: /path `?([^`:]*)`? is not a regular file|`([^`]*)`: Is a directory/,
    exitCode: 126,
    words: 'exec: "$1": is a directory: permission denied',
  },
]

/** runc logs JSON lines, crun plain ones; the last message is the cause. */
const causeOf = (text: string): string => {
  const lines = text.trim().split('\n').filter(Boolean)
  const messages = lines.map(line => {
    try {
      const parsed = JSON.parse(line) as { msg?: string }
      return parsed.msg ?? line
    } catch {
      return /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line
    }
  })
  const errors = messages.filter(message => !/^(time=.*level=warning|runc create failed: $)/.test(message))
  return errors.at(-1) ?? 'the runtime gave no reason'
}

/** Reads a runtime's refusal; `program` stands in where its words do not name what was to be run. */
export const startFailure = (text: string, program = ''): StartFailure => {
  const cause = causeOf(text)
  for (const rule of rules) {
    const match = rule.form.exec(text)
    if (!match) continue
    const name = match[1] || match[2] || program
    return { exitCode: rule.exitCode, message: rule.words.replaceAll('$1', () => name) }
  }
  const lower = cause.toLowerCase()
  if (lower.includes('no such file or directory')) return { exitCode: 127, message: cause }
  if (/permission denied|is a directory|exec format error/.test(lower))
    return { exitCode: 126, message: cause }
  return { exitCode: 128, message: cause }
}

/** A start that the runtime refused, with the exit code that the container has now. */
export class StartError extends BerthError {
  readonly exitCode: StartFailure['exitCode']

  constructor({ exitCode, message }: StartFailure) {
    super(
      'start-failed',
      exitCode === 128 ? 500 : 400,
      `failed to create task for container: OCI runtime create failed: unable to start container process: ${message}: unknown`,
    )
    this.exitCode = exitCode
  }
}
