import { decompress } from './compression.ts'
import { readTar, type TarMember } from './reader.ts'

/**
 * Reads an archive that may be compressed in one pass, member by member, with
 * back-pressure (`docker load`, `docker import`). `size` is the number of
 * bytes of the source where it is known. Errors: `bad-request`, and the source's.
 */
export async function* readArchive(
  source: AsyncIterable<Uint8Array>,
  options: { size?: number } = {},
): AsyncGenerator<TarMember> {
  const { stream } = await decompress(source, options)
  yield* readTar(stream)
}
