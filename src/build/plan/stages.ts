import { notFound } from '../../core/errors.ts'
import type { Platform } from '../../oci/platform.ts'
import { quote } from '../dockerfile/characters.ts'
import { checkFromValues } from '../dockerfile/checks/values.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { expandFrom } from '../dockerfile/expandFrom.ts'
import { copiedFrom } from '../dockerfile/expandInstruction.ts'
import { withSuggestion } from '../dockerfile/suggestion.ts'
import type { Instruction, Range, Stage } from '../dockerfile/types.ts'
import { at } from './errors.ts'
import { findNamedContext } from './namedContext.ts'
import { copyNotes, emptyNotes, type OutlineNotes } from './outline.ts'
import { type Command, newStage, type PlannedStage, type Planning } from './stage.ts'

/** Which stages there are, and what they need of one another. */

const counted = ['ADD', 'COPY', 'RUN', 'WORKDIR']

const isUncached = ({ request: { noCache } }: Planning, name: string): boolean =>
  noCache === 'all' || (noCache?.some(wanted => wanted.toLowerCase() === name) ?? false)

const addStage = (planning: Planning, stage: PlannedStage): void => {
  const base = planning.byName.get(stage.baseName)
  if (base && !stage.namedContext) {
    stage.base = base
    stage.outline = copyNotes(base.outline)
  }
  planning.stages.push(stage)
  const name = stage.stage?.name?.value
  if (name !== undefined) planning.byName.set(name, stage)
}

/** Adds a stage of the file. `notes`: of global arguments. */
export const planStage = (planning: Planning, stage: Stage, notes: OutlineNotes): void => {
  const { checker, globals: lookup, globalNames: known, escape: escapeChar, targetPlatform } = planning
  at(stage.range, () => checkFromValues(checker, stage, { lookup, known, escape: escapeChar }))
  const { architecture } = planning.request.buildPlatform
  const { base, platform, used } = expandFrom(stage, { lookup, known, escape: escapeChar, architecture })
  const name = stage.name?.value ?? ''
  const planned = newStage(
    {
      stage,
      range: stage.range,
      name: name || `stage-${stage.index}`,
      baseName: base,
      outline: copyNotes(notes),
      ignoreCache: isUncached(planning, name),
      ...(platform ? { platform } : {}),
    },
    targetPlatform,
  )
  const context = name && at(stage.range, () => findNamedContext(planning, name, platform ?? targetPlatform))
  if (context) planned.namedContext = context
  addStage(planning, planned)
  if (context) return
  for (const argument of used) planned.outline.used.add(argument)
  const isFetched = base !== 'scratch' && !planned.base
  planned.stepCount =
    (isFetched ? 1 : 0) + stage.instructions.filter(instruction => counted.includes(instruction.name)).length
}

/** What a name means that is no stage's: an image or a named context. */
const otherSource = (planning: Planning, name: string, range: Range): PlannedStage => {
  const made = newStage({ range, name: '', baseName: name, outline: emptyNotes() }, planning.targetPlatform)
  planning.stages.push(made)
  return made
}

const copySource = (
  planning: Planning,
  copy: Extract<Instruction, { name: 'COPY' }>,
): PlannedStage | undefined => {
  const from = copiedFrom(copy, planning.escape)
  if (from === undefined) return undefined
  if (!/^[+-]?\d+$/.test(from))
    return planning.byName.get(from.toLowerCase()) ?? otherSource(planning, from, copy.range)
  const stage = planning.stages[Number(from)]
  if (!stage) throw new DockerfileError(`invalid stage index ${Number(from)}`, [copy.range])
  return stage
}

const sourcesOf = (planning: Planning, instruction: Instruction): (PlannedStage | undefined)[] => {
  if (instruction.name === 'COPY') return [copySource(planning, instruction)]
  if (instruction.name !== 'RUN') return []
  return instruction.mounts.map(({ from }) => {
    if (from === undefined) return undefined
    return planning.byName.get(from.toLowerCase()) ?? otherSource(planning, from, instruction.range)
  })
}

/** The instruction as a command of the stage, which from then on needs what it takes from. */
export const commandOf = (
  planning: Planning,
  stage: PlannedStage,
  instruction: Instruction,
  isTrigger = false,
): Command => {
  const sources = sourcesOf(planning, instruction)
  for (const source of sources) if (source) stage.needs.set(source, instruction.range)
  return { instruction, sources, isTrigger }
}

interface Visit {
  stage: PlannedStage
  open: Iterator<[PlannedStage, Range]>
  /** Where it is said that the stage is needed. */
  range?: Range
}

const visitOf = (stage: PlannedStage, range?: Range): Visit => ({
  stage,
  open: stage.needs.entries(),
  ...(range ? { range } : {}),
})

/** Follows needs from a stage; the ranges of those that lead back to one on the way. */
const circleFrom = (start: PlannedStage, visited: Set<PlannedStage>): Range[] | undefined => {
  const path = [visitOf(start)]
  const onPath = new Set([start])
  visited.add(start)
  for (let visit = path.at(-1); visit; visit = path.at(-1)) {
    const { done, value } = visit.open.next()
    if (done) {
      onPath.delete(visit.stage)
      path.pop()
      continue
    }
    const [needed, range] = value
    if (onPath.has(needed)) return [...path.flatMap(step => step.range ?? []), range]
    if (visited.has(needed)) continue
    visited.add(needed)
    onPath.add(needed)
    path.push(visitOf(needed, range))
  }
  return undefined
}

/** Errors: stages that need each other. */
const checkCircles = (stages: PlannedStage[]): void => {
  const visited = new Set<PlannedStage>()
  for (const stage of stages) {
    if (visited.has(stage)) continue
    const ranges = circleFrom(stage, visited)
    if (ranges) throw new DockerfileError(`circular dependency detected on stage: ${stage.name}`, ranges)
  }
}

/** What each stage needs, once all are there. */
export const connectStages = (planning: Planning): void => {
  for (const stage of [...planning.stages]) {
    if (stage.namedContext) continue
    stage.commands = (stage.stage?.instructions ?? []).map(instruction =>
      commandOf(planning, stage, instruction),
    )
  }
  checkCircles(planning.stages)
  const [only, more] = planning.stages
  if (only && !more) only.name = ''
}

/** The stage that is asked for, by name or number. Errors: in BuildKit's words, with what was probably meant. */
export const findTarget = ({ stages, byName, request: { target } }: Planning): PlannedStage => {
  const last = stages.at(-1)
  if (!last) throw notFound('dockerfile contains no stages to build')
  if (target === undefined || target === '') return last
  const found =
    byName.get(target.toLowerCase()) ?? (/^\d+$/.test(target) ? stages[Number(target)] : undefined)
  if (found) return found
  throw new DockerfileError(
    withSuggestion(
      `target stage ${quote(target)} could not be found`,
      target,
      stages.map(({ name }) => name),
    ),
  )
}

/** The stage and all that it is built on and takes from. */
export const reachedFrom = (target: PlannedStage): Set<PlannedStage> => {
  const reached = new Set([target])
  for (const stage of reached) {
    if (stage.base) reached.add(stage.base)
    for (const needed of stage.needs.keys()) reached.add(needed)
  }
  return reached
}

/** What an image or stage is for, unless it says something else. */
export const platformOf = (planning: Planning, stage: PlannedStage): Platform =>
  stage.platform ?? planning.targetPlatform
