import { quote } from '../characters.ts'
import type { Dockerfile, Instruction, Stage } from '../types.ts'
import type { Checker, Place } from './checker.ts'
import { rules } from './rules.ts'

/** Checks of the whole file, whatever of it is built; they need no values. */

const lower = (text: string): boolean => text === text.toLowerCase()
const upper = (text: string): boolean => text === text.toUpperCase()

const checkDescription = (checker: Checker, place: Place, instruction: string, names: string[]): void => {
  const comment = place.comments?.at(-1)
  if (comment === undefined || names.includes(comment.split(' ', 1)[0] ?? '')) return
  const example = names.length > 1 ? '<arg_key>' : names[0]
  checker.report(
    rules.invalidDefinitionDescription,
    place,
    `Comment for ${instruction} should follow the format: \`# ${example} <description>\``,
  )
}

const checkFrom = (checker: Checker, stage: Stage): void => {
  const { written, keyword, name } = stage
  if (!written || !name) return
  if (!lower(written.name))
    checker.report(rules.stageNameCasing, stage, `Stage name '${written.name}' should be lowercase`)
  const isSameCase = lower(keyword) ? lower(written.as) : !upper(keyword) || upper(written.as)
  if (!isSameCase)
    checker.report(
      rules.fromAsCasing,
      stage,
      `'${written.as}' and '${keyword}' keywords' casing do not match`,
    )
  checkDescription(checker, stage, 'FROM', [name.value])
}

const checkInstruction = (checker: Checker, instruction: Instruction): void => {
  if (instruction.name === 'MAINTAINER')
    checker.report(
      rules.maintainerDeprecated,
      instruction,
      'Maintainer instruction is deprecated in favor of using label',
    )
  if (instruction.name === 'ARG') {
    const names = instruction.arguments.map(({ name }) => name.value)
    checkDescription(checker, instruction, 'ARG', names)
  }
}

const reserved = ['context', 'scratch']

const checkStageNames = (checker: Checker, stages: Stage[]): void => {
  const seen = new Set<string>()
  for (const stage of stages) {
    const name = stage.name?.value
    if (name === undefined) continue
    const place = { range: stage.range }
    if (reserved.includes(name))
      checker.report(
        rules.reservedStageName,
        place,
        `Stage name should not use the same name as reserved stage ${quote(name)}`,
      )
    if (seen.has(name))
      checker.report(
        rules.duplicateStageName,
        place,
        `Duplicate stage name ${quote(name)}, stage names should be unique`,
      )
    seen.add(name)
  }
}

/** The case that most have is the right one; upper where none has more. */
const checkCase = (checker: Checker, stages: Stage[]): void => {
  const all = stages.flatMap(stage => [stage, ...stage.instructions])
  const lowerCount = all.filter(({ keyword }) => lower(keyword)).length
  const upperCount = all.filter(({ keyword }) => !lower(keyword) && upper(keyword)).length
  const [isRight, words] =
    lowerCount > upperCount ? ([lower, 'lowercase'] as const) : ([upper, 'uppercase'] as const)
  for (const { keyword, range } of all)
    if (!isRight(keyword))
      checker.report(
        rules.consistentInstructionCasing,
        { range },
        `Command '${keyword}' should match the case of the command majority (${words})`,
      )
}

export const checkFile = (
  checker: Checker,
  {
    stages,
    metaArguments,
    emptyContinuations,
  }: Pick<Dockerfile, 'stages' | 'metaArguments' | 'emptyContinuations'>,
): void => {
  for (const range of emptyContinuations)
    checker.report(rules.noEmptyContinuation, { range }, 'Empty continuation line')
  for (const argument of metaArguments) checkInstruction(checker, argument)
  for (const stage of stages) {
    checkFrom(checker, stage)
    for (const instruction of stage.instructions) checkInstruction(checker, instruction)
  }
  checkStageNames(checker, stages)
  checkCase(checker, stages)
}
