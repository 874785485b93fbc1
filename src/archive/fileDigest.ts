import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { Digest } from '../oci/digest.ts'
import type { TaskControl } from './layer.ts'
import { Pace } from './pace.ts'

const STEP = 1 << 20

/** What a file holds now. Errors: SystemError (ENOENT), `cancelled`. */
export const fileDigest = async (
  { path }: { path: string },
  control: TaskControl,
): Promise<{ digest: Digest; size: number }> => {
  const hash = createHash('sha256')
  const pace = new Pace()
  let size = 0
  for await (const chunk of createReadStream(path, { highWaterMark: STEP }) as AsyncIterable<Buffer>) {
    control.check()
    hash.update(chunk)
    size += chunk.length
    control.progress(size)
    await pace.rest()
  }
  return { digest: `sha256:${hash.digest('hex')}`, size }
}
