import { expandWord } from '../../dockerfile/expand/expand.ts'
import type { Lookup } from '../../dockerfile/types.ts'
import { InputList } from '../../graph/draft.ts'
import { addHistory } from '../history.ts'
import { cleaned, fromRoot } from '../paths.ts'
import { type Command, lookupOf, type PlannedStage, type Planning } from '../stage.ts'
import { platformOf } from '../stages.ts'
import { nextStepName, placeOf, withCapitals } from '../step.ts'
import { ownerOf } from './owner.ts'

/** The instruction with its values, or as written where that cannot be. */
export const shownWith = (source: string, lookup: Lookup, { escape: escapeChar }: Planning): string => {
  try {
    return withCapitals(expandWord(source, lookup, escapeChar).value)
  } catch {
    return withCapitals(source)
  }
}

/** The folder of what comes then; relative to the one so far. */
export const enterFolder = (stage: PlannedStage, path: string): string => {
  const { WorkingDir = '' } = stage.image.config
  const folder = path.startsWith('/') ? path : cleaned(`${fromRoot(WorkingDir)}/${path}`)
  stage.image.config.WorkingDir = folder
  stage.directory = folder
  return folder
}

/** WORKDIR makes the folder, unless it is the root. `source` is the instruction as written. */
export const planWorkdir = (
  planning: Planning,
  stage: PlannedStage,
  { command, path }: { command: Command; path: string },
): void => {
  const folder = enterFolder(stage, path)
  const { instruction, isTrigger } = command
  if (folder !== '/') {
    const inputs = new InputList()
    const base = inputs.add(stage.fileSystem)
    const { User: user } = stage.image.config
    const env = lookupOf(stage)
    const owner = user ? { owner: ownerOf(user) } : {}
    const name = shownWith(instruction.source, env, planning)
    stage.fileSystem = {
      operation: {
        kind: 'file',
        base,
        actions: [{ kind: 'makeDirectory', path: cleaned(folder), mode: 0o755, parents: true, ...owner }],
      },
      inputs: inputs.drafts,
      platform: platformOf(planning, stage),
      step: {
        name: nextStepName(planning, stage, name, { env, isTrigger }),
        source: placeOf(planning, instruction.range),
        described: `WORKDIR ${folder}`,
      },
    }
  }
  addHistory(planning, stage, `WORKDIR ${folder}`, { hasLayer: folder !== '/' })
}
