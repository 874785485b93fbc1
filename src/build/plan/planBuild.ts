import { notImplemented } from '../../core/errors.ts'
import { normalizePlatform, type Platform } from '../../oci/platform.ts'
import { truthOf } from '../../wire/truth.ts'
import { globalValues } from '../dockerfile/arguments.ts'
import { type Checker, checkerOf } from '../dockerfile/checks/checker.ts'
import { checkFile } from '../dockerfile/checks/file.ts'
import { parseCheckSettings } from '../dockerfile/checks/settings.ts'
import { stageState } from '../dockerfile/checks/stage.ts'
import { checkDefaultBases } from '../dockerfile/checks/values.ts'
import { DockerfileError } from '../dockerfile/errors.ts'
import { IgnoreMatcher } from '../dockerfile/ignore.ts'
import type { Lookup, Warning } from '../dockerfile/types.ts'
import { GraphBuilder } from '../graph/builder.ts'
import { addDraft, type Draft } from '../graph/draft.ts'
import type { Graph } from '../graph/types.ts'
import { defaultPath, platformOfImage } from './base.ts'
import { keptResult, mainContext } from './context.ts'
import { epochName, epochOf } from './epoch.ts'
import { at } from './errors.ts'
import { planCommand } from './instructions/dispatch.ts'
import { enterFolder } from './instructions/workdir.ts'
import { globalNotes, outlineOf } from './outline.ts'
import { platformArguments, samePlatform } from './platform.ts'
import { inherit, lookupIn, type PlannedImage, type PlannedStage, type Planning, setEnv } from './stage.ts'
import { connectStages, findTarget, planStage, platformOf, reachedFrom } from './stages.ts'
import { resolveStages } from './triggers.ts'
import type { BuildRequest, Outside, Plan } from './types.ts'

/** Errors: with the name of the argument whose value is wrong. */
const inArgument = <T>(name: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw new DockerfileError(`failed to parse build-arg:${name}: ${error.message}`)
  }
}

const checkerFor = ({ dockerfile, checks, arguments: given }: BuildRequest): Checker => {
  const name = 'BUILDKIT_DOCKERFILE_CHECK'
  const text = given[name]
  if (checks || text === undefined) return checkerOf(dockerfile, checks)
  return checkerOf(
    dockerfile,
    inArgument(name, () => parseCheckSettings(text)),
  )
}

/** The epoch in seconds stands for what was given for it. */
const withEpoch = (
  given: Readonly<Record<string, string>>,
  epoch: number | undefined,
): Readonly<Record<string, string>> => {
  const { [epochName]: asked, ...others } = given
  return asked === undefined || epoch === undefined ? others : { ...others, [epochName]: String(epoch) }
}

const targetName = ({ target, dockerfile }: BuildRequest): string =>
  target || dockerfile.stages.at(-1)?.name?.value || 'default'

/** What is known before any stage is. */
const begin = async (request: BuildRequest, outside: Outside, checker: Checker): Promise<Planning> => {
  const { dockerfile, arguments: asked, buildPlatform, context } = request
  if (truthOf(asked['BUILDKIT_DISABLE_FILEOP'] ?? ''))
    throw new DockerfileError('support for "BUILDKIT_DISABLE_FILEOP" build-arg was removed in BuildKit 0.11')
  const targetPlatform = normalizePlatform(request.targetPlatform ?? buildPlatform)
  const defaults = platformArguments(buildPlatform, targetPlatform, targetName(request))
  const always: Lookup = name => (Object.hasOwn(defaults, name) ? (asked[name] ?? defaults[name]) : undefined)
  checkDefaultBases(checker, dockerfile, always)
  const first = globalValues(dockerfile, { given: lookupIn(asked), always })
  const date = asked[epochName] ?? first(epochName) ?? ''
  const { escape: escapeChar } = dockerfile.directives
  const others: Lookup = name => (name === epochName ? undefined : first(name))
  const values = { given: lookupIn(asked), globals: others, escape: escapeChar }
  const epoch = await epochOf(date, { request, outside, values })
  const given = withEpoch(asked, epoch)
  const globals: Lookup = name => (name === epochName && date !== '' ? epoch?.toString() : first(name))
  const metaNames = dockerfile.metaArguments.flatMap(meta => meta.arguments.map(({ name }) => name.value))
  const contextPaths = new Set<string>()
  const builder = new GraphBuilder()
  return {
    request,
    outside,
    checker,
    escape: escapeChar,
    given,
    globals,
    globalNames: [...new Set([...Object.keys(defaults), ...metaNames])],
    targetPlatform,
    ...(epoch === undefined ? {} : { epoch }),
    ...(context.kind === 'local' && context.exclude.length > 0
      ? { ignore: new IgnoreMatcher(context.exclude) }
      : {}),
    context: mainContext(request, { builder, paths: contextPaths, platform: targetPlatform }),
    contextPaths,
    stages: [],
    byName: new Map(),
    images: new Map(),
    folderPaths: new Map(),
    builder,
  }
}

/** What a stage is before its first instruction. */
const enter = (planning: Planning, stage: PlannedStage): void => {
  if (stage.base) inherit(stage, stage.base)
  const platform = platformOf(planning, stage)
  stage.platform = platform
  if (platform.os === 'windows') throw notImplemented('building images for Windows')
  const { config } = stage.image
  stage.checks = { ...stageState(stage.base?.checks), hasShell: (config.Shell?.length ?? 0) > 0 }
  const hasPath = config.Env?.some(entry => entry.startsWith('PATH=')) ?? false
  if (!hasPath) config.Env = [...(config.Env ?? []), `PATH=${defaultPath}`]
  for (const entry of config.Env ?? []) {
    const equals = entry.indexOf('=')
    setEnv(stage, equals < 0 ? entry : entry.slice(0, equals), equals < 0 ? '' : entry.slice(equals + 1))
  }
  if (config.WorkingDir) enterFolder(stage, config.WorkingDir)
  if (config.User) stage.user = config.User
}

const isScanWanted = (stage: PlannedStage, value: string): boolean =>
  truthOf(value) ?? value.split(',').includes(stage.name)

const noteScans = ({ globals }: Planning, stage: PlannedStage): void => {
  const wants = (name: string): boolean => {
    const value = stage.declared.get(name) ?? globals(name)
    return value !== undefined && isScanWanted(stage, value)
  }
  stage.scansContext = wants('BUILDKIT_SBOM_SCAN_CONTEXT')
  stage.isScanned = wants('BUILDKIT_SBOM_SCAN_STAGE')
}

const planStages = (planning: Planning, needed: ReadonlySet<PlannedStage>): void => {
  for (const stage of planning.stages) {
    if (!needed.has(stage) || stage.isDone) continue
    stage.isDone = true
    at(stage.range, () => enter(planning, stage))
    for (const command of stage.commands) planCommand(planning, stage, command)
    for (const path of stage.contextPaths) planning.contextPaths.add(path)
    noteScans(planning, stage)
  }
}

/** What was asked for stands over what the base image was made for. */
const finishedImage = ({ request }: Planning, target: PlannedStage): PlannedImage => {
  const { targetPlatform, labels } = request
  const image = { ...target.image }
  if (Object.keys(labels).length > 0)
    image.config = { ...image.config, Labels: { ...image.config.Labels, ...labels } }
  return withPlatform(image, targetPlatform ?? platformOfImage(image))
}

const withPlatform = (image: PlannedImage, platform: Platform): PlannedImage => {
  const isSame = samePlatform(image, platform)
  const { variant, 'os.version': version, 'os.features': features, ...others } = image
  const kept: Omit<Platform, 'os' | 'architecture'> = {
    ...(isSame && variant ? { variant } : {}),
    ...(isSame && version ? { 'os.version': version } : {}),
    ...(features ? { 'os.features': features } : {}),
  }
  return { ...others, ...normalizePlatform({ ...kept, ...platform }) }
}

/** Graphs share what they have in common; each has what its result needs. */
const graphOf = ({ builder }: Planning, result: Draft | undefined): Graph =>
  builder.graph(addDraft(builder, result))

const scannedOf = (
  planning: Planning,
  target: PlannedStage,
  needed: ReadonlySet<PlannedStage>,
): Plan['scanned'] => {
  const stages = [...needed].filter(stage => stage !== target && stage.isScanned)
  return [
    ...(target.scansContext ? [{ name: 'context', graph: graphOf(planning, planning.context) }] : []),
    ...stages.map(stage => ({ name: stage.name, graph: graphOf(planning, stage.fileSystem) })),
  ]
}

const plan = async (
  request: BuildRequest,
  outside: Outside,
  checker: Checker,
): Promise<Omit<Plan, 'warnings'>> => {
  const { dockerfile } = request
  checkFile(checker, dockerfile)
  const planning = await begin(request, outside, checker)
  const notes = globalNotes(dockerfile, planning.globals, lookupIn(planning.given))
  for (const stage of dockerfile.stages) planStage(planning, stage, notes)
  const target = findTarget(planning)
  connectStages(planning)
  const needed = await resolveStages(planning, target)
  planStages(planning, needed)
  target.usedPaths.add('/')
  if (checker.failure) throw checker.failure
  return {
    graph: keptResult(planning.builder, addDraft(planning.builder, target.fileSystem)),
    image: finishedImage(planning, target),
    ...(target.baseImage ? { baseImage: target.baseImage } : {}),
    platform: platformOf(planning, target),
    outline: outlineOf(target, reachedFrom(target)),
    ...(planning.epoch === undefined ? {} : { epoch: planning.epoch }),
    scanned: scannedOf(planning, target, needed),
  }
}

/** What builds a Dockerfile's target. Errors: DockerfileErrors in BuildKit's words, and those of `outside` with the places that they are about. */
export const planBuild = async (request: BuildRequest, outside: Outside): Promise<Plan> => {
  const checker = checkerFor(request)
  const planned = await plan(request, outside, checker)
  return { ...planned, warnings: checker.warnings }
}

/** `--call check`: what checks find, of all stages where no target is named, and what is wrong beyond. */
export const checkBuild = async (
  request: BuildRequest,
  outside: Outside,
): Promise<{ warnings: Warning[]; error?: DockerfileError }> => {
  const checker = checkerFor(request)
  try {
    await plan({ ...request, allStages: request.allStages ?? !request.target }, outside, checker)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    return { warnings: checker.warnings, error }
  }
  return { warnings: checker.warnings }
}
