import { expandWord } from '../dockerfile/expand/expand.ts'
import type { Argument, Dockerfile, Lookup, Range } from '../dockerfile/types.ts'
import type { PlannedStage } from './stage.ts'
import type { Outline, OutlineEntry, Target } from './types.ts'

/** What is noted of a stage for `--call outline`. */
export interface OutlineNotes {
  arguments: Map<string, NotedArgument>
  used: Set<string>
  secrets: Map<string, Noted>
  ssh: Map<string, Noted>
}

interface NotedArgument {
  value: string
  description: string
  range: Range
  /** Arguments that its default names. */
  needs: string[]
}

interface Noted {
  required: boolean
  range: Range
}

export const emptyNotes = (): OutlineNotes => ({
  arguments: new Map(),
  used: new Set(),
  secrets: new Map(),
  ssh: new Map(),
})

export const copyNotes = (notes: OutlineNotes): OutlineNotes => ({
  arguments: new Map(notes.arguments),
  used: new Set(notes.used),
  secrets: new Map(notes.secrets),
  ssh: new Map(notes.ssh),
})

export const noteArgument = (
  notes: OutlineNotes,
  argument: Argument,
  noted: Omit<NotedArgument, 'description'>,
): void => {
  notes.arguments.set(argument.name.value, { ...noted, description: argument.comment ?? '' })
}

/** The first that names it tells where. */
export const noteOnce = (noted: Map<string, Noted>, id: string, entry: Noted): void => {
  if (!noted.has(id)) noted.set(id, entry)
}

/** Global arguments, which each stage's notes begin with. */
export const globalNotes = (dockerfile: Dockerfile, globals: Lookup, given: Lookup): OutlineNotes => {
  const notes = emptyNotes()
  const all = new Set(dockerfile.metaArguments.flatMap(meta => meta.arguments.map(({ name }) => name.value)))
  // One that comes later had no value yet.
  const isKnown = (name: string): boolean => notes.arguments.has(name) || !all.has(name)
  for (const meta of dockerfile.metaArguments)
    for (const argument of meta.arguments) {
      const name = argument.name.value
      const isDefault = given(name) === undefined && argument.default !== undefined
      const needs = isDefault
        ? expandWord(argument.default?.value ?? '', globals, dockerfile.directives.escape).used.filter(
            isKnown,
          )
        : []
      const former = notes.arguments.get(name)
      const own = needs.includes(name) ? [...(former?.needs ?? []), ...needs] : needs
      noteArgument(notes, argument, {
        value: globals(name) ?? '',
        range: meta.range,
        needs: own.filter(need => need !== name),
      })
    }
  return notes
}

/** Marks what used arguments need in their defaults. */
const allUsed = ({ used, arguments: known }: OutlineNotes): Set<string> => {
  const all = new Set(used)
  for (const name of all) for (const need of known.get(name)?.needs ?? []) all.add(need)
  return all
}

const byLine = <T extends OutlineEntry>(entries: Map<string, T>): T[] =>
  [...entries.values()].sort((a, b) => (a.ranges[0]?.start.line ?? 0) - (b.ranges[0]?.start.line ?? 0))

const collect = <T extends { range: Range }, E extends OutlineEntry>(
  stages: Set<PlannedStage>,
  notedOf: (notes: OutlineNotes) => Iterable<[string, T]>,
  entryOf: (name: string, noted: T) => E,
): E[] => {
  const found = new Map<string, E>()
  for (const { outline } of stages)
    for (const [name, noted] of notedOf(outline)) if (!found.has(name)) found.set(name, entryOf(name, noted))
  return byLine(found)
}

const entryOf = (name: string, { required, range }: Noted): OutlineEntry & { required: boolean } => ({
  name,
  required,
  ranges: [range],
})

/** `stages`: the target first, and then all that it is built on and takes from. */
export const outlineOf = (target: PlannedStage, stages: Set<PlannedStage>): Outline => {
  return {
    name: target.stage?.name?.value ?? '',
    description: target.stage?.comment ?? '',
    arguments: collect(
      stages,
      notes => {
        const used = allUsed(notes)
        return [...notes.arguments].filter(([name]) => used.has(name))
      },
      (name, { value, description, range }) => ({ name, value, description, ranges: [range] }),
    ),
    secrets: collect(stages, ({ secrets }) => secrets, entryOf),
    ssh: collect(stages, ({ ssh }) => ssh, entryOf),
  }
}

/** The stages that can be built, as they are written. */
export const listTargets = ({ stages }: Dockerfile): Target[] =>
  stages.map(({ name, comment, base, platform, range }, index) => ({
    name: name?.value ?? '',
    description: comment ?? '',
    default: index === stages.length - 1,
    base: base.value,
    platform: platform?.value ?? '',
    ranges: [range],
  }))
