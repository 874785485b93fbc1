import type { IncomingMessage } from 'node:http'
import { digestOf } from '../../oci/digest.ts'

type Reply = { status: number; headers: Record<string, string>; body: Buffer }

const empty = Buffer.of()

const refused = (status: number, code: string, headers: Record<string, string> = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: Buffer.from(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] })),
})

export interface UploadOptions {
  noChunks?: boolean
  relativeLocations?: boolean
  shortestChunk?: number
  apart?: boolean
}

/** The sessions of uploads of the tests' registry. */
export class Uploads {
  /** What came, by the session's id. */
  readonly sessions = new Map<string, Buffer>()
  /** Lengths of the chunks that came by PATCH, in order. */
  readonly chunks: number[] = []
  /** Repositories from which blobs may be mounted. */
  readonly mountable = new Set<string>()
  /** Every repository's blobs, where they are kept apart; then any may be mounted that its repository has. */
  readonly owned = new Set<string>()
  /** No blob is mounted: it is to be uploaded instead. */
  mountsRefused = false
  /** Bytes of blobs that came over the line. */
  received = 0
  readonly #blobs: Map<string, Buffer>
  readonly #options: UploadOptions
  #next = 1

  constructor(blobs: Map<string, Buffer>, options: UploadOptions) {
    this.#blobs = blobs
    this.#options = options
  }

  #place(request: IncomingMessage, path: string, id: string): Record<string, string> {
    const place = `${path}/blobs/uploads/${id}?_state=a%2Fb%7E${id}`
    const { relativeLocations, shortestChunk } = this.#options
    const scheme = 'encrypted' in request.socket ? 'https' : 'http'
    return {
      location: relativeLocations ? place : `${scheme}://${request.headers.host}${place}`,
      range: `0-${Math.max((this.sessions.get(id)?.length ?? 0) - 1, 0)}`,
      ...(shortestChunk ? { 'oci-chunk-min-length': String(shortestChunk) } : {}),
    }
  }

  /** Bytes of a request that was cut are kept, as registries keep them. */
  receive(url: URL, body: Buffer): boolean {
    const id = /\/blobs\/uploads\/([^/]+)$/.exec(url.pathname)?.[1] ?? ''
    const session = this.sessions.get(id)
    if (!session) return false
    this.received += body.length
    this.sessions.set(id, Buffer.concat([session, body]))
    return true
  }

  #begin(request: IncomingMessage, url: URL, path: string): Reply {
    const mount = url.searchParams.get('mount') ?? ''
    const from = url.searchParams.get('from') ?? ''
    const mountable = this.#options.apart ? this.has(from, mount) : this.mountable.has(from)
    if (this.#blobs.has(mount) && mountable && !this.mountsRefused) {
      this.own(path.slice('/v2/'.length), mount)
      return { status: 201, headers: {}, body: empty }
    }
    const id = `session-${this.#next++}`
    this.sessions.set(id, empty)
    return { status: 202, headers: this.#place(request, path, id), body: empty }
  }

  #chunk(request: IncomingMessage, url: URL, path: string, id: string, body: Buffer): Reply {
    const session = this.sessions.get(id) ?? empty
    const first = Number(/^(\d+)-/.exec(String(request.headers['content-range']))?.[1] ?? session.length)
    if (first !== session.length) return { status: 416, headers: this.#place(request, path, id), body: empty }
    this.chunks.push(body.length)
    this.receive(url, body)
    return { status: 202, headers: this.#place(request, path, id), body: empty }
  }

  own(repository: string, digest: string): void {
    this.owned.add(`${repository} ${digest}`)
  }

  has(repository: string, digest: string): boolean {
    return this.#options.apart ? this.owned.has(`${repository} ${digest}`) : this.#blobs.has(digest)
  }

  #end(url: URL, path: string, { id, body }: { id: string; body: Buffer }): Reply {
    this.receive(url, body)
    const bytes = this.sessions.get(id) ?? empty
    this.sessions.delete(id)
    const digest = url.searchParams.get('digest') ?? ''
    if (digestOf(bytes) !== digest) return refused(400, 'DIGEST_INVALID')
    this.#blobs.set(digest, bytes)
    this.own(path.slice('/v2/'.length), digest)
    return { status: 201, headers: { 'docker-content-digest': digest }, body: empty }
  }

  /** Undefined for what is no upload. */
  answer(request: IncomingMessage, url: URL, body: Buffer): Reply | undefined {
    const match = /^(\/v2\/.+)\/blobs\/uploads\/([^/]*)$/.exec(url.pathname)
    if (!match) return undefined
    const [, path = '', id = ''] = match
    if (request.method === 'POST') return this.#begin(request, url, path)
    if (!this.sessions.has(id)) return refused(404, 'BLOB_UPLOAD_UNKNOWN')
    if (url.searchParams.get('_state') !== `a/b~${id}`) return refused(400, 'BLOB_UPLOAD_INVALID')
    if (request.method === 'PATCH')
      return this.#options.noChunks ? refused(405, 'UNSUPPORTED') : this.#chunk(request, url, path, id, body)
    if (request.method === 'PUT') return this.#end(url, path, { id, body })
    if (request.method === 'DELETE') {
      this.sessions.delete(id)
      return { status: 204, headers: {}, body: empty }
    }
    return { status: 204, headers: this.#place(request, path, id), body: empty }
  }
}
