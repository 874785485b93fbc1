import { checkInstruction } from '../../dockerfile/checks/stage.ts'
import { checkUnset } from '../../dockerfile/checks/values.ts'
import { expandInstruction } from '../../dockerfile/expandInstruction.ts'
import type { Instruction } from '../../dockerfile/types.ts'
import { at } from '../errors.ts'
import { type Command, lookupOf, type PlannedStage, type Planning } from '../stage.ts'
import { planArg } from './argument.ts'
import { planCopy } from './copy.ts'
import { planRun } from './run.ts'
import { settings } from './settings.ts'
import { planWorkdir } from './workdir.ts'

const planSetting = (
  planning: Planning,
  stage: PlannedStage,
  instruction: Extract<Instruction, { name: keyof typeof settings }>,
): void => {
  const plan = settings[instruction.name] as (
    planning: Planning,
    stage: PlannedStage,
    instruction: Instruction,
  ) => void
  plan(planning, stage, instruction)
}

const plan = (planning: Planning, stage: PlannedStage, command: Command): void => {
  const { instruction: expanded, unset } = expandInstruction(
    command.instruction,
    lookupOf(stage),
    planning.escape,
  )
  const { checker } = planning
  checkUnset(checker, expanded, { unset, known: stage.env.keys(), declared: stage.declared.keys() })
  checkInstruction(checker, stage.checks, expanded)
  if (expanded.name === 'ARG') planArg(planning, stage, expanded)
  else if (expanded.name === 'ADD' || expanded.name === 'COPY')
    planCopy(planning, stage, { command, copy: expanded })
  else if (expanded.name === 'RUN') planRun(planning, stage, { command, run: expanded })
  else if (expanded.name === 'WORKDIR') planWorkdir(planning, stage, { command, path: expanded.path.value })
  else planSetting(planning, stage, expanded)
}

/** Does to a stage's state what an instruction does. Errors have its place. */
export const planCommand = (planning: Planning, stage: PlannedStage, command: Command): void =>
  at(command.instruction.range, () => plan(planning, stage, command))
