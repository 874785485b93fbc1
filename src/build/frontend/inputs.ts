import { badRequest } from '../../core/errors.ts'
import type { ImageConfig } from '../../oci/image.ts'
import type { Definition } from '../../wire/buildkit/ops_pb.ts'
import { quote } from '../dockerfile/characters.ts'
import type { FrontendAttributes } from './attributes.ts'
import { type DefinitionHost, readDefinition } from './definition.ts'
import type { Inputs } from './remoteContext.ts'

/** What a client gives to a build of what was built before: `target:` contexts, contexts of files from afar. */

const configKey = 'containerimage.config'

/** Go writes bytes as base64. */
const imageOf = (name: string, text: string): ImageConfig | undefined => {
  try {
    const { [configKey]: bytes } = JSON.parse(text) as Record<string, unknown>
    if (typeof bytes !== 'string') return undefined
    return JSON.parse(Buffer.from(bytes, 'base64').toString()) as ImageConfig
  } catch (error) {
    throw badRequest(`failed to parse input metadata ${quote(text)} of ${name}`, error)
  }
}

/** Errors: `bad-request` for metadata that cannot be read; those of `readDefinition`. */
export const readInputs = (
  definitions: Readonly<Record<string, Definition>>,
  { inputMetadata }: Pick<FrontendAttributes, 'inputMetadata'>,
  host: DefinitionHost,
): Inputs =>
  Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => {
      const metadata = Object.hasOwn(inputMetadata, name) ? inputMetadata[name] : undefined
      const image = metadata === undefined ? undefined : imageOf(name, metadata)
      return [name, { graph: readDefinition(definition, host), ...(image ? { image } : {}) }]
    }),
  )
