import { quote } from '../../dockerfile/characters.ts'
import { checkCopyIgnored } from '../../dockerfile/checks/context.ts'
import { DockerfileError } from '../../dockerfile/errors.ts'
import { type Draft, InputList } from '../../graph/draft.ts'
import type { FileAction, Step } from '../../graph/types.ts'
import { addHistory } from '../history.ts'
import { absolute, fromRoot } from '../paths.ts'
import { type Command, lookupOf, type PlannedStage, type Planning } from '../stage.ts'
import { platformOf } from '../stages.ts'
import { nextStepName, placeOf } from '../step.ts'
import { checkMode } from './mode.ts'
import { ownerOf } from './owner.ts'
import { type CopyInstruction, copyActions, isHttp, isRemote } from './sources.ts'
import { shownWith } from './workdir.ts'

/** What `--from` names, or the context. */
const contentOf = (
  planning: Planning,
  stage: PlannedStage,
  { command, copy }: { command: Command; copy: CopyInstruction },
): Draft | undefined => {
  const [source] = command.sources
  if (!source) return planning.context
  if (source.isDone) return source.fileSystem
  const from = copy.name === 'COPY' ? (copy.from?.value ?? '') : ''
  throw new DockerfileError(
    `cannot copy from stage ${quote(from)}, it needs to be defined before current stage ${quote(stage.name)}`,
  )
}

const pathsOf = ({ sources }: CopyInstruction): string[] =>
  sources.flatMap(source => (source.kind === 'path' ? [source.path.value] : []))

const noteUsed = (stage: PlannedStage, command: Command, copy: CopyInstruction): void => {
  const [source] = command.sources
  const used = source ? source.usedPaths : stage.contextPaths
  for (const path of pathsOf(copy)) if (copy.name !== 'ADD' || !isRemote(path)) used.add(fromRoot(path))
}

const checkChecksum = (copy: CopyInstruction): void => {
  if (copy.name !== 'ADD' || !copy.checksum?.value) return
  const [only, more] = pathsOf(copy)
  if (copy.sources.length !== 1 || only === undefined || more !== undefined)
    throw new DockerfileError("checksum can't be specified for multiple sources")
  if (!isHttp(only) && !isRemote(only)) throw new DockerfileError('checksum requires HTTP(S) or Git sources')
}

/** `COPY --chown=1 a b` */
const historyText = (copy: CopyInstruction): string => {
  const { chown, chmod, sources, destination } = copy
  const texts = sources.flatMap(source => (source.kind === 'heredoc' ? [`<<${source.heredoc.name}`] : []))
  return [
    copy.name,
    ...(copy.name === 'COPY' && copy.parents ? ['--parents'] : []),
    ...(chown?.value ? [`--chown=${chown.value}`] : []),
    ...(chmod?.value ? [`--chmod=${chmod.value}`] : []),
    ...pathsOf(copy),
    ...texts,
    destination.value,
  ].join(' ')
}

/** Files as a layer of their own, which need nothing of those below to be made. */
const linked = (
  planning: Planning,
  stage: PlannedStage,
  {
    actions,
    inputs,
    step,
    linkName,
  }: { actions: FileAction[]; inputs: InputList; step: Step; linkName: string },
): Draft => {
  const platform = platformOf(planning, stage)
  const group = step.name
  const files: Draft = {
    operation: { kind: 'file', base: undefined, actions },
    inputs: inputs.drafts,
    platform,
    step: { ...step, group },
  }
  if (!stage.fileSystem) return files
  return {
    operation: { kind: 'merge' },
    inputs: [stage.fileSystem, files],
    platform,
    step: { ...step, name: linkName, group },
  }
}

interface Names {
  name: string
  linkName: string
}

/** The same step twice: of the copy, and of putting it over what there is. */
const namesOf = (planning: Planning, stage: PlannedStage, command: Command): Names => {
  const env = lookupOf(stage)
  const shown = shownWith(command.instruction.source, env, planning)
  const options = { env, isTrigger: command.isTrigger }
  const name = nextStepName(planning, stage, shown, options)
  if (stage.stepCount > 0) stage.stepIndex--
  return { name, linkName: nextStepName(planning, stage, `LINK ${shown}`, options) }
}

/** COPY and ADD. `copy` is the command's instruction with its values. */
export const planCopy = (
  planning: Planning,
  stage: PlannedStage,
  { command, copy }: { command: Command; copy: CopyInstruction },
): void => {
  const content = contentOf(planning, stage, { command, copy })
  const { chown, chmod, exclude, link } = copy
  if (chmod?.value) checkMode(chmod.value)
  checkChecksum(copy)
  if (planning.ignore) checkCopyIgnored(planning.checker, copy, planning.ignore)
  const isLinked = link && !chmod?.value
  const inputs = new InputList()
  const base = isLinked ? undefined : inputs.add(stage.fileSystem)
  const { name, linkName } = namesOf(planning, stage, command)
  const actions = copyActions({
    instruction: copy,
    content,
    inputs,
    platform: platformOf(planning, stage),
    stepName: name,
    common: {
      destination: absolute(stage.directory, copy.destination.value),
      exclude: exclude.map(({ value }) => value),
      ...(chown?.value ? { owner: ownerOf(chown.value) } : {}),
      ...(chmod?.value ? { mode: chmod.value } : {}),
    },
  })
  noteUsed(stage, command, copy)
  const text = historyText(copy)
  const step: Step = {
    name,
    source: placeOf(planning, copy.range),
    described: text,
    ...(stage.ignoreCache ? { ignoreCache: true } : {}),
  }
  stage.fileSystem = isLinked
    ? linked(planning, stage, { actions, inputs, step, linkName })
    : {
        operation: { kind: 'file', base, actions },
        inputs: inputs.drafts,
        platform: platformOf(planning, stage),
        step,
      }
  addHistory(planning, stage, text, { hasLayer: true, isBuilt: true })
}
