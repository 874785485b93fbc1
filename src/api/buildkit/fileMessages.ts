import type { MessageInitShape } from '@bufbuild/protobuf'
import type { FilePart, ResultEntry } from '../../build/export/resultFiles.ts'
import { toGoMode } from '../../build/session/goFileMode.ts'
import type { StatSchema } from '../../wire/buildkit/fsutil_pb.ts'
import type { ReadFileRequest } from '../../wire/buildkit/gateway_pb.ts'

/** Files as clients ask for them, and as they are told of them. */

export const statMessage = (entry: ResultEntry): MessageInitShape<typeof StatSchema> => ({
  path: Buffer.from(entry.path),
  mode: toGoMode(entry.mode),
  uid: entry.uid,
  gid: entry.gid,
  size: BigInt(entry.size),
  modTime: entry.mtime,
  linkname: Buffer.from(entry.target),
})

export const partOf = ({ filePath, range }: ReadFileRequest): FilePart => {
  const length = Number(range?.length ?? 0)
  return { path: filePath, offset: Number(range?.offset ?? 0), ...(length > 0 ? { length } : {}) }
}
