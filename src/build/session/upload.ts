import { BytesMessageSchema, Upload } from '../../wire/buildkit/upload_pb.ts'
import { bytesOf } from './messageBytes.ts'
import { pathOf, type Session } from './session.ts'

/** What a client gives by an address of its own: a Dockerfile or an archive that came by its stdin. */

/** `http://buildkit-session/<name>`, as clients name it. */
export const isUpload = (url: string): boolean => url.startsWith('http://buildkit-session/')

/** Its bytes, at the pace of who reads them. Ending the iteration early cancels it. Errors: those of a call. */
export async function* pullUpload(
  session: Session,
  url: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { pathname, host } = new URL(url)
  using stream = session.stream(pathOf(Upload.method.pull), {
    metadata: { urlpath: [pathname], urlhost: [host] },
    signal,
  })
  yield* bytesOf(stream.messages(BytesMessageSchema))
}
