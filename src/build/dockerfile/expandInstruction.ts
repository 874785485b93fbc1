import { DockerfileError, located } from './errors.ts'
import { expandText, expandWord } from './expand/expand.ts'
import { readMount } from './mount.ts'
import type { CopyFlags, Escape, Heredoc, Instruction, Lookup, RunMount, Source, Text } from './types.ts'

/** Which parts of an instruction have variables. */

export interface Expanded {
  instruction: Instruction
  /** Names without a value, for a check. */
  unset: string[]
}

interface Expander {
  text(text: Text): Text
  heredoc(heredoc: Heredoc): Heredoc
}

const expandSource = (source: Source, { text, heredoc }: Expander): Source =>
  source.kind === 'path'
    ? { kind: 'path', path: text(source.path) }
    : { kind: 'heredoc', heredoc: heredoc(source.heredoc) }

const expandCopyFlags = ({ chown, chmod }: CopyFlags, { text }: Expander): Partial<CopyFlags> => ({
  ...(chown ? { chown: text(chown) } : {}),
  ...(chmod ? { chmod: text(chmod) } : {}),
})

const expandSources = (
  { sources, destination }: { sources: Source[]; destination: Text },
  expander: Expander,
): { sources: Source[]; destination: Text } => ({
  sources: sources.map(source => expandSource(source, expander)),
  destination: expander.text(destination),
})

const expandParts = (instruction: Instruction, expander: Expander): Instruction => {
  const { text } = expander
  switch (instruction.name) {
    case 'ADD': {
      const { checksum } = instruction
      return {
        ...instruction,
        ...expandCopyFlags(instruction, expander),
        ...(checksum ? { checksum: text(checksum) } : {}),
        ...expandSources(instruction, expander),
      }
    }
    case 'COPY':
      return {
        ...instruction,
        ...expandCopyFlags(instruction, expander),
        ...expandSources(instruction, expander),
      }
    case 'ENV':
    case 'LABEL': {
      const pairs = instruction.pairs.map(pair => ({
        ...pair,
        key: text(pair.key),
        value: text(pair.value),
      }))
      return { ...instruction, pairs }
    }
    case 'STOPSIGNAL':
      return { ...instruction, signal: text(instruction.signal) }
    case 'USER':
      return { ...instruction, user: text(instruction.user) }
    case 'VOLUME':
      return { ...instruction, volumes: instruction.volumes.map(text) }
    case 'WORKDIR':
      return { ...instruction, path: text(instruction.path) }
    default:
      return instruction
  }
}

/**
 * The instruction with its variables replaced. Left as they are: defaults of ARG, which a build argument may make
 * needless (`expandWord`), the ports of EXPOSE, which are split again (`expandWords`), and mounts (`expandMounts`).
 */
export const expandInstruction = (instruction: Instruction, lookup: Lookup, escapeChar: Escape): Expanded => {
  const unset = new Set<string>()
  const note = (names: string[]): void => {
    for (const name of names) unset.add(name)
  }
  const text = (word: Text): Text => {
    const expansion = expandWord(word.value, lookup, escapeChar)
    note(expansion.unset)
    return { ...word, value: expansion.value }
  }
  const heredoc = (read: Heredoc): Heredoc => {
    if (!read.expand) return read
    const expansion = expandText(read.content, lookup)
    note(expansion.unset)
    return { ...read, content: expansion.value }
  }
  const expanded = located(instruction, () => expandParts(instruction, { text, heredoc }))
  return { instruction: expanded, unset: [...unset] }
}

/** What the mounts of a RUN are, with their variables replaced. */
export const expandMounts = (
  run: Extract<Instruction, { name: 'RUN' }>,
  lookup: Lookup,
  escapeChar: Escape,
): { mounts: RunMount[]; unset: string[] } => {
  const unset = new Set<string>()
  const expand = (value: string): string => {
    const expansion = expandWord(value, lookup, escapeChar)
    for (const name of expansion.unset) unset.add(name)
    return expansion.value
  }
  const mounts = located(run, () => run.mounts.map(mount => readMount(mount, expand)))
  return { mounts, unset: [...unset] }
}

const nothing: Lookup = () => undefined

/** What `COPY --from` names: a stage, its number, an image or a named context. Errors: variables, which it cannot have. */
export const copiedFrom = (
  copy: Extract<Instruction, { name: 'COPY' }>,
  escapeChar: Escape,
): string | undefined =>
  located(copy, () => {
    const from = copy.from?.value
    if (from === undefined || expandWord(from, nothing, escapeChar).value === from) return from
    throw new DockerfileError(
      'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
    )
  })
