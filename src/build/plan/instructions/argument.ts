import { stageValue } from '../../dockerfile/arguments.ts'
import { checkUnset } from '../../dockerfile/checks/values.ts'
import { expandWord } from '../../dockerfile/expand/expand.ts'
import type { Argument, Instruction } from '../../dockerfile/types.ts'
import { addHistory } from '../history.ts'
import { noteArgument } from '../outline.ts'
import { lookupIn, lookupOf, type PlannedStage, type Planning, setEnv } from '../stage.ts'

/** Steer the builder, and are no variables of what runs. */
const steering = ['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']

type ArgInstruction = Extract<Instruction, { name: 'ARG' }>

const note = (
  { given, globals, escape: escapeChar }: Planning,
  stage: PlannedStage,
  { argument, value, instruction }: { argument: Argument; value: string; instruction: ArgInstruction },
): void => {
  const name = argument.name.value
  stage.outline.used.add(name)
  const hasGiven = Object.hasOwn(given, name)
  // It is the global one's.
  if (!hasGiven && !argument.default && globals(name) !== undefined) return
  const needs =
    hasGiven || !argument.default
      ? []
      : expandWord(argument.default.value, lookupOf(stage), escapeChar).used.filter(need => need !== name)
  noteArgument(stage.outline, argument, { value, range: instruction.range, needs })
}

const declare = (
  planning: Planning,
  stage: PlannedStage,
  argument: Argument,
  instruction: ArgInstruction,
): string => {
  const { given, globals: global, escape: escapeChar } = planning
  const name = argument.name.value
  const lookup = lookupOf(stage)
  const values = { given: lookupIn(given), global, lookup }
  const { value, unset } = stageValue(argument, values, escapeChar)
  checkUnset(planning.checker, instruction, {
    unset,
    known: stage.env.keys(),
    declared: stage.declared.keys(),
  })
  note(planning, stage, { argument, value: value ?? '', instruction })
  if (value !== undefined && !steering.includes(name)) setEnv(stage, name, value)
  stage.declared.set(name, value)
  return value === undefined ? name : `${name}=${value}`
}

/** ARG: given values before defaults, which may name what is known so far, before those of global arguments. */
export const planArg = (planning: Planning, stage: PlannedStage, instruction: ArgInstruction): void => {
  const words = instruction.arguments.map(argument => declare(planning, stage, argument, instruction))
  addHistory(planning, stage, `ARG ${words.join(' ')}`)
}
