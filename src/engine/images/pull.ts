import { abandonable } from '../../core/abort.ts'
import { forbidden } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { formatPlatform, type Platform, platformScore } from '../../oci/platform.ts'
import { canonical, familiar, familiarName, type Reference } from '../../oci/reference.ts'
import type { Credentials, ImageSource, Repository } from '../../registry-client/types.ts'
import type { LayerSource } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { bringIn, collectQuietly } from './collect.ts'
import { forgetFetched } from './fetched.ts'
import type { Fetching } from './fetches.ts'
import { fetchAttestations } from './pullAttestations.ts'
import { checkIsImage, type PullPlan, planPull } from './pullPlan.ts'
import { LayerProgress, type PullLine } from './pullProgress.ts'
import { reachManifest } from './reach.ts'

export interface PullRequest {
  /** Without a tag or a digest, all tags are meant. */
  name: Reference
  /** This host's unless told. */
  platform: Platform | undefined
  credentials: Credentials | undefined
  operation: Operation
  report: (line: PullLine) => void
}

/** What is under way for one name. */
interface Part extends Pick<PullRequest, 'name' | 'report'> {
  repository: ImageSource
  operation: Pick<Operation, 'at' | 'signal'>
}

/** A layer on its way: what is told of it, and who brings it. */
interface LayerPull {
  layer: Descriptor
  progress: LayerProgress
  /** Absent where the blob was there. */
  fetching?: Fetching
}

/** `POST /images/create?fromImage=…`: errors before the first line are the registry's, in Docker's words. */
export const pullImages = async (engine: Engine, request: PullRequest): Promise<void> => {
  const { name, credentials, operation, report } = request
  if (familiarName(name) === 'scratch') throw forbidden("'scratch' is a reserved name")
  const repository = engine.registries.repository(name.domain, name.path, credentials)
  let isNew = false
  for await (const wanted of wantedNames(name, repository, operation.signal))
    isNew = (await pullOne(engine, { ...request, name: wanted, repository })) || isNew
  const what = isNew ? 'Downloaded newer image for' : 'Image is up to date for'
  report({ status: `Status: ${what} ${familiar(name)}` })
}

async function* wantedNames(
  name: Reference,
  repository: Repository,
  signal: AbortSignal,
): AsyncGenerator<Reference> {
  // A digest says it all: Docker makes no name of the tag beside it.
  if (name.digest) yield { domain: name.domain, path: name.path, digest: name.digest }
  else if (name.tag) yield name
  else for await (const tag of repository.tags(signal)) yield { ...name, tag }
}

/** True where the name stands for another image now. */
const pullOne = async (engine: Engine, part: Part & Pick<PullRequest, 'platform'>): Promise<boolean> => {
  const { name, repository, operation, report, platform } = part
  const { signal } = operation
  operation.at(`asking for ${familiar(name)}`)
  const answer = await repository.manifest(name.digest ?? name.tag ?? 'latest', signal)
  checkIsImage(answer)
  report({ status: `Pulling from ${familiarName(name)}`, id: name.digest ?? name.tag ?? '' })
  const plan = await planPull(answer, { repository, platform, signal })
  const isKnown = stands(engine, name, plan)
  await bring(engine, part, plan)
  report({ status: `Digest: ${plan.target.digest}` })
  if (platform && platformScore(plan.config, platform) === 0) report(mismatch(part, plan))
  const { Labels } = plan.config.config ?? {}
  engine.events.publish('image', 'pull', familiar(name), { ...Labels, name: familiarName(name) })
  return !isKnown
}

/** True where the name stands for what is there, and the platform's image of it is here. */
const stands = (engine: Engine, name: Reference, { id, target }: PullPlan): boolean =>
  engine.images.findTag(name)?.target === target.digest &&
  engine.images.sharing(target.digest).some(image => image.id === id)

/** A manifest that is in no index is taken whatever it is for. */
const mismatch = (
  { name, platform }: Pick<PullRequest, 'name' | 'platform'>,
  { config }: PullPlan,
): PullLine => ({
  status: `WARNING: image with reference ${familiar(name)} was found but does not match the specified platform: wanted ${platform ? formatPlatform(platform) : ''}, actual: ${formatPlatform(config)}`,
})

/** Where it fails layers stay for the next attempt; documents are quickly asked for again. */
const bring = async (engine: Engine, part: Part, plan: PullPlan): Promise<void> => {
  const documents: Digest[] = []
  try {
    await bringHeld(engine, part, {
      plan,
      ends: brought => record(engine, part, { ...brought, documents }),
    })
  } catch (error) {
    if (documents.length > 0) await collectQuietly(engine, documents)
    throw error
  }
}

/** Layers to bring that no image names. */
export interface LayerBringing extends Part {
  layers: readonly Descriptor[]
  /** As many, bottom first. */
  sources: readonly LayerSource[]
}

/** Fetches and unpacks what is not there yet of layers that a keeper of the engine keeps. Errors: the registry's, `cancelled`. */
export const bringLayers = async (engine: Engine, bringing: LayerBringing): Promise<void> => {
  const { layers, sources } = bringing
  await bringHeld(engine, bringing, {
    plan: { layers: [...layers], sources: [...sources], documents: [], attestations: [] },
    ends: async brought => {
      using unpacked = await unpackBrought(engine, bringing, { ...brought, documents: [] })
      return unpacked !== undefined
    },
  })
}

/** Everything is held until somebody names it. */
const bringHeld = async <Plan extends LayerPlan>(
  engine: Engine,
  part: Part,
  { plan, ends }: { plan: Plan; ends: (brought: Brought<Plan>) => Promise<boolean> },
): Promise<void> => {
  using holds = new DisposableStack()
  const blobs = [
    ...(plan.target ? [plan.target.digest] : []),
    ...(plan.manifest ? [plan.manifest.digest] : []),
    ...(plan.id ? [plan.id] : []),
    ...plan.layers.map(({ digest }) => digest),
  ]
  for (const digest of blobs) holds.use(engine.fetches.hold(digest))
  const pulls = uniqueLayers(plan.layers).map(layer => ({
    layer,
    progress: new LayerProgress(layer, part.report),
  }))
  for (;;) {
    using fetched = new DisposableStack()
    const { brought, attested } = await fetchMissing(engine, part, { plan, pulls, fetched, holds })
    const wanted = [...plan.layers.map(({ digest }) => digest), ...attested]
    if (await ends({ plan, pulls: brought, wanted })) return await forgetFetched(engine.database, wanted)
  }
}

const uniqueLayers = (layers: readonly Descriptor[]): Descriptor[] => [
  ...new Map(layers.map(layer => [layer.digest, layer])).values(),
]

/** The part of a plan that is about layers; the rest is there where an image is to name them. */
type LayerPlan = Pick<PullPlan, 'layers' | 'sources' | 'documents' | 'attestations'> & Partial<PullPlan>

interface Bringing<Plan = LayerPlan> {
  plan: Plan
  pulls: LayerPull[]
}

interface Brought<Plan = LayerPlan> extends Bringing<Plan> {
  /** Blobs that were fetched, or found. */
  wanted: readonly Digest[]
}

interface Recording<Plan = LayerPlan> extends Brought<Plan> {
  /** Gets those that were stored. */
  documents: Digest[]
}

interface FetchOptions extends Bringing {
  /** What is fetched is kept in it. */
  fetched: DisposableStack
  holds: DisposableStack
}

interface FetchResult {
  /** Layers to unpack. */
  brought: LayerPull[]
  /** Blobs of attestations. */
  attested: Digest[]
}

/** Layers that are to be fetched, and those that are only to be unpacked. */
const sortLayers = async (
  engine: Engine,
  { plan, pulls }: Bringing,
): Promise<{ missing: LayerPull[]; there: LayerPull[] }> => {
  const unpacked = await unpackedLayers(engine, plan)
  // Of an image that is here nothing is told but its name.
  const quiet = plan.id !== undefined && engine.images.byId(plan.id) !== undefined
  const missing: LayerPull[] = []
  const there: LayerPull[] = []
  for (const { layer, progress } of pulls) {
    const isThere = (await engine.content.info(layer.digest)) !== undefined
    if (!isThere || !unpacked.has(layer.digest)) {
      progress.say('Pulling fs layer')
      if (isThere) there.push({ layer, progress })
      else missing.push({ layer, progress })
    } else if (!quiet) progress.say('Already exists')
  }
  return { missing, there }
}

/** Fetches in parallel; the first failure ends the others. */
const fetchMissing = async (
  engine: Engine,
  part: Part,
  { plan, pulls, fetched, holds }: FetchOptions,
): Promise<FetchResult> => {
  part.operation.at(`fetching layers of ${familiar(part.name)}`)
  const { missing, there: brought } = await sortLayers(engine, { plan, pulls })
  const stop = new AbortController()
  const signal = AbortSignal.any([part.operation.signal, stop.signal])
  const ending = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      stop.abort(error)
      throw error
    }
  }
  const { repository } = part
  const attestations = ending(
    fetchAttestations(engine, { attestations: plan.attestations, repository, signal, holds }),
  )
  const layers = missing.map(pull =>
    ending(
      fetchLayer(engine, part, pull, signal).then(fetching => {
        fetched.use(fetching)
        brought.push({ ...pull, fetching })
      }),
    ),
  )
  const results = await Promise.allSettled([attestations, ...layers])
  part.operation.signal.throwIfAborted()
  // The others end by the first one's error.
  for (const result of results) if (result.status === 'rejected') throw stop.signal.reason
  return { brought, attested: await attestations }
}

/** Blobs of layers whose content is there. */
const unpackedLayers = async (engine: Engine, { sources }: LayerPlan): Promise<Set<Digest>> => {
  const found = new Set<Digest>()
  for (const [index, { blob }] of sources.entries())
    if (await engine.layers.find(sources.slice(0, index + 1).map(({ diffId }) => diffId))) found.add(blob)
  return found
}

/** Another client's fetch of the same blob may fail by what is that client's: its repository, its credentials. Then ours begins. */
const fetchLayer = async (
  engine: Engine,
  { repository }: Part,
  { layer, progress }: LayerPull,
  signal: AbortSignal,
): Promise<Fetching> => {
  for (;;) {
    signal.throwIfAborted()
    const fetching = engine.fetches.join(repository, layer, state => progress.fetched(state))
    try {
      await abandonable(signal, fetching.stored)
      return fetching
    } catch (error) {
      fetching[Symbol.dispose]()
      if (fetching.own || signal.aborted) throw error
    }
  }
}

/** Stores its documents and unpacks; nothing is collected until the result is disposed of. Undefined where a blob has gone meanwhile, and is to be fetched again. */
const unpackBrought = async (
  engine: Engine,
  { operation, name }: Part,
  { plan, pulls, wanted, documents }: Recording,
): Promise<Disposable | undefined> => {
  operation.at('waiting for a removal of images')
  const bringing = await bringIn(engine, operation.signal)
  try {
    for (const digest of wanted)
      if (!(await engine.content.info(digest))) return void bringing[Symbol.dispose]()
    for (const bytes of plan.documents) documents.push((await engine.content.put(bytes)).digest)
    failpoint('pull.stored')
    operation.at(`unpacking ${familiar(name)}`)
    await unpack(engine, operation, { plan, pulls })
    failpoint('pull.unpacked')
    return bringing
  } catch (error) {
    bringing[Symbol.dispose]()
    throw error
  }
}

/** Unpacks and names the image; false where a blob has gone meanwhile. */
const record = async (
  engine: Engine,
  part: Part,
  { plan, ...brought }: Recording<PullPlan>,
): Promise<boolean> => {
  const { operation, name } = part
  using bringing = await unpackBrought(engine, part, { plan, ...brought })
  if (!bringing) return false
  operation.at('recording the image')
  const { target: descriptor, manifest, sources: layers } = plan
  const blobs = (await reachManifest(engine, descriptor, manifest.digest))?.blobs ?? []
  const { domain, path } = name
  const digestName = { domain, path, digest: descriptor.digest }
  await engine.images.add(
    { id: plan.id, config: plan.config },
    { descriptor, manifest, blobs, layers, sources: [canonical({ domain, path })] },
    name.digest ? [digestName] : [name, digestName],
  )
  failpoint('pull.recorded')
  return true
}

const unpack = async (
  engine: Engine,
  operation: Part['operation'],
  { plan, pulls }: Bringing,
): Promise<void> => {
  const byBlob = new Map(pulls.map(pull => [pull.layer.digest, pull]))
  await engine.layers.ensure(plan.sources, {
    signal: operation.signal,
    verified: blob => byBlob.get(blob)?.fetching !== undefined,
    arrived: blob => byBlob.get(blob)?.fetching?.arriving,
    onProgress: ({ blob }, bytes) => byBlob.get(blob)?.progress.bytes('Extracting', bytes),
  })
  for (const { progress } of pulls) progress.say('Pull complete')
}
