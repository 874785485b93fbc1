import type { CommandLine } from '../../dockerfile/types.ts'
import type { PlannedStage } from '../stage.ts'

const shellOf = ({ image }: PlannedStage): string[] => {
  const { Shell = [] } = image.config
  return Shell.length > 0 ? Shell : ['/bin/sh', '-c']
}

/** What is run: of the shell form the stage's shell with the script. */
export const argsOf = (stage: PlannedStage, command: CommandLine): string[] =>
  command.form === 'exec' ? command.words : [...shellOf(stage), command.script]
