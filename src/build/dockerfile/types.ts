import type { HealthConfig } from '../../oci/image.ts'

/**
 * A Dockerfile as a tree (syntax 1.26, labs included). Texts are as written:
 * variables are expanded by who knows their values (`expandWord`).
 *
 * - **instruction**: one command of the file, over one or several lines.
 * - **stage**: a `FROM` and all up to the next one.
 * - **meta argument**: an `ARG` before the first `FROM`, known to `FROM` alone.
 * - **heredoc**: a text in the file that stands for a file or for a script.
 */

/** Lines count from 1, columns (UTF-16 units) from 0. */
export interface Position {
  line: number
  column: number
}

/** From `start` up to and without `end`. */
export interface Range {
  start: Position
  end: Position
}

/** What is written where; what was expanded keeps its place. */
export interface Text {
  value: string
  range: Range
}

export type Escape = '\\' | '`'

/**
 * `# syntax=`, `# escape=`, `# check=` (`skip=…;error=true;experimental=…`) at the head of the file.
 * Values end at the first space.
 */
export interface Directives {
  syntax?: Text
  escape: Escape
  check?: Text
}

export interface Heredoc {
  /** The word that ends it. */
  name: string
  /** The descriptor before `<<`; 0 where there is none. */
  descriptor: number
  content: string
  /** Variables in it are expanded: its word was not quoted. */
  expand: boolean
  /** `<<-`: leading tabs are taken off. */
  chomp: boolean
  range: Range
}

/** A source of COPY or ADD: a path or URL, or a text of the file's own under the name of its heredoc. */
export type Source = { kind: 'path'; path: Text } | { kind: 'heredoc'; heredoc: Heredoc }

/** A script that is run as a program of its own, since it begins with `#!`. */
export interface ScriptFile {
  name: string
  content: string
}

/** What RUN, CMD and ENTRYPOINT run. */
export type CommandLine =
  | { form: 'exec'; words: string[] }
  /**
   * `script` is given to the stage's shell, with its heredocs as the shell is to read them.
   * With `file` it is the path of that file in `scriptFolder`, which has to be there.
   */
  | { form: 'shell'; script: string; heredocs: Heredoc[]; file?: ScriptFile }

/** Where a `ScriptFile` is seen from within. */
export const scriptFolder = '/dev/pipes'

export interface Pair {
  key: Text
  value: Text
  /** `ENV key value` and `LABEL key value`, without `=`. */
  legacy: boolean
}

/** `default` is absent in `ARG name`. `comment`: the text of a comment straight above that begins with the name. */
export interface Argument {
  name: Text
  default?: Text
  comment?: string
}

export type MountSharing = 'shared' | 'private' | 'locked'

export type MountType = 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh'

/** `--mount=…` as written: all but `from`, which names a stage, may hold variables, the type too. */
export interface MountText {
  text: Text
  from?: string
}

/** What `readMount` makes of it. */
export interface RunMount {
  type: MountType
  target?: string
  source?: string
  from?: string
  id?: string
  readOnly: boolean
  required: boolean
  sharing?: MountSharing
  /** Bytes, of tmpfs. */
  size?: number
  mode?: number
  uid?: number
  gid?: number
  /** Of a secret: the name of the variable that holds it; empty is that of its id. */
  env?: string
}

interface InstructionBase {
  /** Its name as written, for checks of its case. */
  keyword: string
  /** All its lines, with its heredocs. */
  range: Range
  /** As written, without continuations, the text of heredocs or comments: `RUN make`. */
  source: string
  /** Lines of comments straight above. */
  comments: string[]
  /** Flags that were given, by name, for checks and for histories. */
  flags: string[]
}

export interface CopyFlags {
  chown?: Text
  chmod?: Text
  link: boolean
  exclude: Text[]
}

export type Instruction = InstructionBase &
  (
    | ({
        name: 'ADD'
        sources: Source[]
        destination: Text
        checksum?: Text
        keepGitDir?: boolean
        unpack?: boolean
      } & CopyFlags)
    | { name: 'ARG'; arguments: Argument[] }
    | { name: 'CMD'; command: CommandLine }
    | ({ name: 'COPY'; sources: Source[]; destination: Text; from?: Text; parents: boolean } & CopyFlags)
    | { name: 'ENTRYPOINT'; command: CommandLine }
    | { name: 'ENV'; pairs: Pair[] }
    | { name: 'EXPOSE'; ports: Text[] }
    | { name: 'HEALTHCHECK'; health: HealthConfig }
    | { name: 'LABEL'; pairs: Pair[] }
    | { name: 'MAINTAINER'; maintainer: Text }
    /** An instruction as `parseInstruction` reads it, with its heredocs. */
    | { name: 'ONBUILD'; expression: string }
    | {
        name: 'RUN'
        command: CommandLine
        mounts: MountText[]
        network?: Text
        security?: Text
        devices: { name: string; required: boolean; range: Range }[]
      }
    | { name: 'SHELL'; shell: string[] }
    | { name: 'STOPSIGNAL'; signal: Text }
    | { name: 'USER'; user: Text }
    | { name: 'VOLUME'; volumes: Text[] }
    | { name: 'WORKDIR'; path: Text }
  )

export type InstructionName = Instruction['name']

export interface Stage {
  /** From 0. */
  index: number
  keyword: string
  /** Lower case, of `AS name`. */
  name?: Text
  /** `AS name` before that, for checks of its case. */
  written?: { as: string; name: string }
  /** An image, an earlier stage, a named context or `scratch`; may hold variables. */
  base: Text
  platform?: Text
  /** Of the `FROM`. */
  range: Range
  source: string
  comments: string[]
  /** The comment straight above that begins with the stage's name. */
  comment?: string
  instructions: Instruction[]
}

export interface Dockerfile {
  directives: Directives
  metaArguments: Extract<Instruction, { name: 'ARG' }>[]
  stages: Stage[]
  /** The ends of instructions that have empty lines among their continuations: a check tells of them. */
  emptyContinuations: Range[]
}

/** What a check found: a rule of BuildKit's list. */
export interface Warning {
  rule: string
  message: string
  /** Of the rule: what it is about. */
  description: string
  url: string
  ranges: Range[]
}

/** Where a name has a value; undefined is unset, which is not empty. */
export type Lookup = (name: string) => string | undefined

export interface Expansion {
  value: string
  /** Names that were looked up and have a value. */
  used: string[]
  /** Names that were looked up and are unset. */
  unset: string[]
}
