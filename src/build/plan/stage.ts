import type { ImageConfig, ImageRunConfig } from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Checker } from '../dockerfile/checks/checker.ts'
import { type StageState, stageState } from '../dockerfile/checks/stage.ts'
import type { IgnoreMatcher } from '../dockerfile/ignore.ts'
import type { Escape, Instruction, Lookup, Range, Stage } from '../dockerfile/types.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import type { Draft } from '../graph/draft.ts'
import type { NamedContext } from './namedContext.ts'
import type { OutlineNotes } from './outline.ts'
import type { BuildRequest, Outside, ResolvedImage } from './types.ts'

/** An instruction with what it takes files from. */
export interface Command {
  instruction: Instruction
  /** Of `COPY --from`, of each mount of a RUN in its order; undefined where it is the context or nothing. */
  sources: (PlannedStage | undefined)[]
  /** It is an ONBUILD of what the stage is built on. */
  isTrigger: boolean
}

export type PlannedImage = ImageConfig & { config: ImageRunConfig }

/** A stage that is being planned: the state after its instructions so far. Also an image that only COPY or a mount names. */
export interface PlannedStage {
  /** Absent for what is no stage of the file. */
  stage?: Stage
  range: Range
  /** As it is shown; empty for the only one. */
  name: string
  /** What FROM names, with its arguments replaced. */
  baseName: string
  /** The stage of this file that it is built on. */
  base?: PlannedStage
  platform?: Platform
  namedContext?: NamedContext
  commands: Command[]
  /** What its instructions take files from, and where that is said. */
  needs: Map<PlannedStage, Range>
  fileSystem: Draft | undefined
  image: PlannedImage
  baseImage?: ImageConfig
  /** In the order in which they were last set. */
  env: Map<string, string>
  directory: string
  user: string
  /** Arguments that ARG made known, for histories and checks. */
  declared: Map<string, string | undefined>
  /** Paths of the context that it takes. */
  contextPaths: Set<string>
  /** Paths that others take of it, and that it takes itself; those of a stage and what it is built on are one set. */
  usedPaths: Set<string>
  ignoreCache: boolean
  /** Its base is known. */
  isResolved: boolean
  /** It begins with an image that was asked for. */
  isFetched: boolean
  /** ONBUILD of its base is among its commands. */
  hasTriggers: boolean
  isDone: boolean
  stepCount: number
  stepIndex: number
  checks: StageState
  outline: OutlineNotes
  /** There was a CMD in it. */
  hasCommand: boolean
  isScanned: boolean
  scansContext: boolean
}

/** All that planning goes by. */
export interface Planning {
  request: BuildRequest
  outside: Outside
  checker: Checker
  escape: Escape
  /** Build arguments; the epoch among them in seconds. */
  given: Readonly<Record<string, string>>
  globals: Lookup
  /** Names of all global arguments, with or without a value. */
  globalNames: string[]
  targetPlatform: Platform
  epoch?: number
  /** Of the context; undefined where nothing is left out. */
  ignore?: IgnoreMatcher
  context: Draft
  /** What is taken of it by all stages. */
  contextPaths: Set<string>
  stages: PlannedStage[]
  byName: Map<string, PlannedStage>
  /** What was asked for already, by reference and platform. */
  images: Map<string, Promise<ResolvedImage>>
  /** What is taken of the folders of named contexts. */
  folderPaths: Map<string, Set<string>>
  builder: GraphBuilder
}

/** What of a configuration is the image's; others tell how it was once made. */
const imageFields = [
  'architecture',
  'os',
  'variant',
  'os.version',
  'os.features',
  'author',
  'rootfs',
  'history',
] as const

/** What goes on to images that are built on one. */
const configFields = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'ArgsEscaped',
  'Healthcheck',
  'OnBuild',
  'Shell',
] as const

const picked = <T extends object, K extends keyof T>(from: T, fields: readonly K[]): Pick<T, K> =>
  Object.fromEntries(
    fields.filter(field => (from[field] ?? undefined) !== undefined).map(field => [field, from[field]]),
  ) as Pick<T, K>

/** A copy of its own, which instructions change. */
export const withConfig = (image: ImageConfig): PlannedImage =>
  structuredClone({ ...picked(image, imageFields), config: picked(image.config ?? {}, configFields) })

export const newStage = (
  made: Pick<PlannedStage, 'range' | 'name' | 'baseName' | 'outline'> &
    Partial<Pick<PlannedStage, 'stage' | 'platform' | 'ignoreCache'>>,
  platform: Platform,
): PlannedStage => ({
  ...made,
  commands: [],
  needs: new Map(),
  fileSystem: undefined,
  image: withConfig({ ...platform, rootfs: { type: 'layers', diff_ids: [] } }),
  env: new Map(),
  directory: '/',
  user: '',
  declared: new Map(),
  contextPaths: new Set(),
  usedPaths: new Set(),
  ignoreCache: made.ignoreCache ?? false,
  isResolved: false,
  isFetched: false,
  hasTriggers: false,
  isDone: false,
  stepCount: 0,
  stepIndex: 0,
  checks: stageState(),
  hasCommand: false,
  isScanned: false,
  scansContext: false,
})

/** Goes on where the stage that this one is built on ends. */
export const inherit = (stage: PlannedStage, base: PlannedStage): void => {
  stage.fileSystem = base.fileSystem
  stage.usedPaths = base.usedPaths
  if (base.platform) stage.platform = base.platform
  stage.image = withConfig(base.image)
  delete stage.image.config.OnBuild
  if (base.baseImage) stage.baseImage = base.baseImage
  stage.env = new Map(base.env)
  stage.directory = base.directory
  stage.user = base.user
  stage.declared = new Map(base.declared)
}

/** Variables of a stage at an instruction. */
export const lookupOf = (stage: PlannedStage): Lookup => {
  const { env } = stage
  return name => env.get(name)
}

/** The last one counts, in its place. */
export const setEnv = (stage: PlannedStage, name: string, value: string): void => {
  stage.env.delete(name)
  stage.env.set(name, value)
}

/** Variables of a record: its own alone. */
export const lookupIn =
  (values: Readonly<Record<string, string>>): Lookup =>
  name =>
    Object.hasOwn(values, name) ? values[name] : undefined
