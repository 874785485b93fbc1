import { parseInstruction } from '../dockerfile/parse.ts'
import { checkBase, resolveBase } from './base.ts'
import { type PlannedStage, type Planning, withConfig } from './stage.ts'
import { commandOf, reachedFrom } from './stages.ts'

/** What ONBUILD of a stage's base has it do: of an image, or of a stage of this file. */
const triggersOf = ({ base, image }: PlannedStage): string[] => {
  if (!base) return image.config.OnBuild ?? []
  return base.commands.flatMap(({ instruction }) =>
    instruction.name === 'ONBUILD' ? [instruction.expression] : [],
  )
}

/** Puts them before the stage's own instructions. */
const addTriggers = (planning: Planning, stage: PlannedStage): void => {
  stage.hasTriggers = true
  const triggers = triggersOf(stage)
  const commands = triggers.map(trigger =>
    commandOf(planning, stage, parseInstruction(trigger, stage.range), true),
  )
  stage.commands = [...commands, ...stage.commands]
  stage.stepCount += commands.length
  if (stage.base) return
  stage.image = withConfig(stage.image)
  delete stage.image.config.OnBuild
}

/** All at once; the error of the first one that has one. */
const resolveAll = async (planning: Planning, stages: PlannedStage[]): Promise<void> => {
  for (const stage of stages) stage.isResolved = true
  const results = await Promise.allSettled(stages.map(stage => resolveBase(planning, stage)))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  for (const stage of stages) checkBase(planning, stage)
}

/**
 * Finds out what all stages begin with that the target needs. ONBUILD of an image may name others, which are needed
 * then, too.
 */
export const resolveStages = async (
  planning: Planning,
  target: PlannedStage,
): Promise<ReadonlySet<PlannedStage>> => {
  for (;;) {
    const needed = planning.request.allStages ? new Set(planning.stages) : reachedFrom(target)
    const unresolved = planning.stages.filter(stage => needed.has(stage) && !stage.base && !stage.isResolved)
    await resolveAll(planning, unresolved)
    const fresh = planning.stages.filter(
      stage => needed.has(stage) && stage.stage && !stage.hasTriggers && !stage.isDone,
    )
    for (const stage of fresh) addTriggers(planning, stage)
    if (unresolved.length === 0 && fresh.length === 0) return needed
  }
}
