import { quote } from '../characters.ts'
import type { Instruction } from '../types.ts'
import type { Checker, Place } from './checker.ts'
import { rules } from './rules.ts'

/** Checks of the stages that are built, instruction by instruction in their order. */

/** Of what a stage is built on, and then of the stage so far. */
export interface StageState {
  /** A WORKDIR was set in this file. */
  hasWorkdir: boolean
  /** The image's configuration has a shell, so that shell forms are meant. */
  hasShell: boolean
  /** The last one of each name that may stand once. */
  last: Map<string, Place>
}

/** `base`: the state at the end of the stage that this one is built on. */
export const stageState = (base?: StageState, imageHasShell = false): StageState => ({
  hasWorkdir: base?.hasWorkdir ?? false,
  hasShell: base?.hasShell ?? imageHasShell,
  last: new Map(),
})

/** Names by which secrets go, and those that tell that it is none, as a part of a name between `_`. */
const secretWords = [
  'apikey',
  'auth',
  'credential',
  'credentials',
  'key',
  'password',
  'pword',
  'passwd',
  'secret',
  'token',
]
const harmlessWords = ['public', 'file', 'version']

const looksSecret = (name: string): boolean => {
  const parts = name.toLowerCase().split('_')
  return parts.some(part => secretWords.includes(part)) && !parts.some(part => harmlessWords.includes(part))
}

const checkSecret = (checker: Checker, instruction: Instruction, name: string): void => {
  if (!looksSecret(name)) return
  checker.report(
    rules.secretsUsedInArgOrEnv,
    instruction,
    `Do not use ARG or ENV instructions for sensitive data (${instruction.name} ${quote(name)})`,
  )
}

/** Of two, the former counts for nothing, so that is what is shown. */
const checkOnce = (checker: Checker, state: StageState, instruction: Instruction): void => {
  const { name, keyword, range, comments } = instruction
  const former = state.last.get(name)
  if (former)
    checker.report(
      rules.multipleInstructionsDisallowed,
      { range: former.range, comments },
      `Multiple ${keyword} instructions should not be used in the same stage because only the last one will be used`,
    )
  state.last.set(name, { range })
}

type Command = Extract<Instruction, { name: 'CMD' | 'ENTRYPOINT' }>

const checkCommand = (checker: Checker, state: StageState, instruction: Command): void => {
  checkOnce(checker, state, instruction)
  if (instruction.command.form === 'shell' && !state.hasShell)
    checker.report(
      rules.jsonArgsRecommended,
      instruction,
      `JSON arguments recommended for ${instruction.keyword} to prevent unintended behavior related to OS signals`,
    )
}

const checkPairs = (checker: Checker, instruction: Extract<Instruction, { name: 'ENV' | 'LABEL' }>): void => {
  const { keyword } = instruction
  for (const { key, legacy } of instruction.pairs) {
    if (legacy)
      checker.report(
        rules.legacyKeyValueFormat,
        instruction,
        `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`,
      )
    if (instruction.name === 'ENV') checkSecret(checker, instruction, key.value)
  }
}

const checkWorkdir = (checker: Checker, state: StageState, instruction: Instruction, path: string): void => {
  if (!state.hasWorkdir && !path.startsWith('/'))
    checker.report(
      rules.workdirRelativePath,
      instruction,
      `Relative workdir ${quote(path)} can have unexpected results if the base image changes`,
    )
  state.hasWorkdir = true
}

/** Checks an instruction whose variables are replaced, those of ONBUILD too, and notes it in the state. */
export const checkInstruction = (checker: Checker, state: StageState, instruction: Instruction): void => {
  switch (instruction.name) {
    case 'ARG':
      for (const { name } of instruction.arguments) checkSecret(checker, instruction, name.value)
      break
    case 'ENV':
    case 'LABEL':
      checkPairs(checker, instruction)
      break
    case 'CMD':
    case 'ENTRYPOINT':
      checkCommand(checker, state, instruction)
      break
    case 'HEALTHCHECK':
      checkOnce(checker, state, instruction)
      break
    case 'SHELL':
      state.hasShell = true
      break
    case 'WORKDIR':
      checkWorkdir(checker, state, instruction, instruction.path.value)
      break
  }
}
