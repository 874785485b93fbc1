import { BerthError, hasCode } from '../../core/errors.ts'
import { type Platform, platformScore } from '../../oci/platform.ts'
import type { AttestationStatement } from '../../wire/image.ts'
import type { Engine } from '../engine.ts'
import { platformMissing } from './imageErrors.ts'
import { hostPlatform, isImage, type Listed, manifestsBelow } from './reach.ts'
import { targetOf } from './siblings.ts'

const predicateType = 'in-toto.io/predicate-type'

/** Statements are read into memory. */
const maxStatement = 32 << 20

export interface AttestationRequest {
  /** This host's unless told. */
  platform: Platform | undefined
  /** Predicate types; none for all. */
  types: readonly string[]
  /** With the statements themselves. */
  statement: boolean
}

const scoreOf = (engine: Engine, { descriptor, manifest }: Listed, platform: Platform): number => {
  const { config } = (manifest && engine.images.byId(manifest.config.digest)) ?? {}
  const own = descriptor.platform ?? config
  return own ? platformScore(own, platform) : 0
}

const readStatement = async (
  engine: Engine,
  { digest }: AttestationStatement['Descriptor'],
): Promise<unknown> => {
  try {
    return JSON.parse((await engine.content.bytes(digest, maxStatement)).toString('utf8'))
  } catch (error) {
    if (!hasCode(error, 'not-found')) throw error
    throw new BerthError(
      'not-found',
      404,
      `attestation statement ${digest} is not available locally: pull the image again`,
      { cause: error },
    )
  }
}

/** `GET /images/{name}/attestations`: what BuildKit put beside an image in its index. Errors: 404 for the platform. */
export const imageAttestations = async (
  engine: Engine,
  name: string,
  { platform = hostPlatform, types, statement }: AttestationRequest,
): Promise<AttestationStatement[]> => {
  const { image, target } = engine.images.resolve(name)
  const descriptor = targetOf(image, target)?.descriptor
  const listed = descriptor ? await manifestsBelow(engine, descriptor) : []
  // A manifest that is in no index has nothing beside it.
  if (!listed.some(({ path }) => path.length > 0)) return []
  const [best] = listed
    .filter(entry => isImage(entry) && scoreOf(engine, entry, platform) > 0)
    .sort((a, b) => scoreOf(engine, b, platform) - scoreOf(engine, a, platform))
  if (!best) throw platformMissing(name, platform)
  const layers = listed
    .filter(({ attests }) => attests === best.descriptor.digest)
    .flatMap(({ manifest }) => manifest?.layers ?? [])
  const found: AttestationStatement[] = []
  for (const layer of layers) {
    const PredicateType = layer.annotations?.[predicateType] ?? ''
    if (PredicateType === '' || (types.length > 0 && !types.includes(PredicateType))) continue
    const Statement = statement ? { Statement: await readStatement(engine, layer) } : {}
    found.push({ Descriptor: layer, PredicateType, ...Statement })
  }
  return found
}
