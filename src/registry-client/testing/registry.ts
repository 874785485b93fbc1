import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/image.ts'
import { type TokenRules, Tokens } from './tokens.ts'
import { Uploads } from './uploads.ts'

/** A registry in memory that misbehaves as it is told, request by request. */

export interface Seen {
  method: string
  /** With its query. */
  url: string
  headers: IncomingMessage['headers']
  /** How many requests of the same method and path came before. */
  times: number
}

/** What goes wrong with one answer. */
export interface Fault {
  /** Answered instead, with a header or several, and a text. */
  status?: number
  headers?: Record<string, string>
  text?: string
  /** The connection is cut after so many bytes of the answer's body. */
  cutAfter?: number
  /** Nothing comes after so many bytes, and the connection stays. */
  silentAfter?: number
  /** The connection is reset after so many bytes were sent; fewer may arrive. */
  resetAfter?: number
  /** The connection is cut after so many bytes of the request's body came. */
  cutUploadAfter?: number
  /** The body is another one of the same length. */
  corrupt?: boolean
  /** The body is this one. */
  body?: Buffer
  /** The length of the body is not told. */
  lengthless?: boolean
  /** Ranges are not heeded. */
  wholeOnly?: boolean
}

export interface TestRegistryOptions {
  tls?: { cert: string; key: string; clientAuthority?: string }
  basic?: { username: string; password: string }
  tokens?: TokenRules
  /** A repository has only the blobs that were pushed to it. */
  apart?: boolean
  /** PATCH is refused. */
  noChunks?: boolean
  /** Uploads are told by a path alone. */
  relativeLocations?: boolean
  shortestChunk?: number
  /** Tags of a page. */
  page?: number
  listen?: string
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:port` */
  address: string
  base: string
  blobs: Map<string, Buffer>
  /** By `repository:reference`. */
  manifests: Map<string, { type: string; bytes: Buffer }>
  uploads: Uploads
  /** What it finds: by a part of the name. */
  searchable: object[]
  tokens: Tokens
  seen: Seen[]
  /** Bytes that clients have not taken yet. */
  unsent(): number
  /** Requests so far of a method whose address matches. */
  count(method: string, url: RegExp): number
  /** Asked for every request; the first fault that is given holds. */
  fault(decide: (seen: Seen) => Fault | undefined): void
  addBlob(bytes: Buffer): { digest: Digest; size: number; mediaType: string }
  addManifest(repository: string, tag: string, manifest: object, type?: string): Digest
}

type Reply = { status: number; headers: Record<string, string>; body: Buffer }

export const errorReply = (
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Reply => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: Buffer.from(JSON.stringify({ errors: [{ code, message }] })),
})

const ranged = (reply: Reply, range: string | undefined): Reply => {
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? '')
  if (!match || reply.status !== 200) return reply
  const size = reply.body.length
  const first = Number(match[1])
  if (first >= size)
    return { status: 416, headers: { 'content-range': `bytes */${size}` }, body: Buffer.of() }
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  const headers = { ...reply.headers, 'content-range': `bytes ${first}-${last}/${size}` }
  return { status: 206, headers, body: reply.body.subarray(first, last + 1) }
}

const corrupted = (body: Buffer): Buffer => Buffer.from(body.map(byte => byte ^ 0xff))

const respond = (request: IncomingMessage, response: ServerResponse, reply: Reply, fault: Fault): void => {
  const body = fault.body ?? (fault.corrupt ? corrupted(reply.body) : reply.body)
  const length = fault.lengthless ? {} : { 'content-length': String(body.length) }
  const headers = { ...length, ...reply.headers, ...fault.headers }
  response.writeHead(fault.status ?? reply.status, headers)
  if (request.method === 'HEAD') return void response.end()
  const shown = fault.cutAfter ?? fault.resetAfter ?? fault.silentAfter
  if (shown === undefined) return void response.end(body)
  response.flushHeaders()
  // Ended and not reset: what was sent before arrives.
  response.write(body.subarray(0, shown), () => {
    if (fault.cutAfter !== undefined) request.socket.end()
    if (fault.resetAfter !== undefined) request.socket.destroy()
  })
}

const readBody = async (request: IncomingMessage, limit: number | undefined): Promise<Buffer | undefined> => {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of request) {
      chunks.push(chunk)
      size += chunk.length
      if (limit !== undefined && size >= limit) {
        request.socket.destroy()
        return Buffer.concat(chunks).subarray(0, limit)
      }
    }
  } catch {
    return undefined
  }
  return Buffer.concat(chunks)
}

class Registry implements TestRegistry {
  address = ''
  base = ''
  readonly blobs = new Map<string, Buffer>()
  readonly manifests = new Map<string, { type: string; bytes: Buffer }>()
  readonly seen: Seen[] = []
  readonly searchable: object[] = []
  readonly tokens: Tokens
  readonly uploads: Uploads
  readonly #options: TestRegistryOptions
  readonly #sockets = new Set<Socket>()
  #decide: (seen: Seen) => Fault | undefined = () => undefined
  #close: () => Promise<void> = async () => {}

  constructor(options: TestRegistryOptions) {
    this.#options = options
    this.tokens = new Tokens(options.tokens)
    this.uploads = new Uploads(this.blobs, options)
  }

  async listen(): Promise<this> {
    const { tls } = this.#options
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch(error => request.socket.destroy(error))
    }
    const server = tls
      ? createTlsServer(
          { ...tls, ...(tls.clientAuthority ? { ca: tls.clientAuthority, requestCert: true } : {}) },
          answer,
        )
      : createPlainServer(answer)
    server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
    })
    server.on('tlsClientError', () => {})
    const host = this.#options.listen ?? '127.0.0.1'
    await new Promise<void>(resolve => server.listen(0, host, resolve))
    this.address = `${host}:${(server.address() as AddressInfo).port}`
    this.base = `${tls ? 'https' : 'http'}://${this.address}`
    this.#close = () =>
      new Promise<void>(resolve => {
        server.close(() => resolve())
        for (const socket of this.#sockets) socket.destroy()
      })
    return this
  }

  fault(decide: (seen: Seen) => Fault | undefined): void {
    this.#decide = decide
  }

  unsent(): number {
    return [...this.#sockets].reduce((sum, socket) => sum + socket.writableLength, 0)
  }

  count(method: string, url: RegExp): number {
    return this.seen.filter(seen => seen.method === method && url.test(seen.url)).length
  }

  addBlob(bytes: Buffer) {
    const digest = digestOf(bytes)
    this.blobs.set(digest, bytes)
    return { digest, size: bytes.length, mediaType: mediaTypes.ociLayerGzip }
  }

  addManifest(
    repository: string,
    tag: string,
    manifest: object,
    type: string = mediaTypes.ociManifest,
  ): Digest {
    const bytes = Buffer.from(JSON.stringify(manifest))
    this.manifests.set(`${repository}:${tag}`, { type, bytes })
    this.manifests.set(`${repository}:${digestOf(bytes)}`, { type, bytes })
    return digestOf(bytes)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      times: this.seen.filter(other => other.method === request.method && other.url === request.url).length,
    }
    this.seen.push(seen)
    const fault = this.#decide(seen) ?? {}
    // Of a request that was left there is none any more.
    const { socket } = request
    const body = await readBody(request, fault.cutUploadAfter)
    if (body === undefined) return
    const url = new URL(seen.url, this.base)
    if (fault.cutUploadAfter !== undefined) {
      this.uploads.receive(url, body)
      return void socket.destroy()
    }
    const reply =
      fault.status === undefined
        ? await this.#reply(request, url, body)
        : { status: fault.status, headers: {}, body: Buffer.from(fault.text ?? '') }
    respond(request, response, fault.wholeOnly ? reply : ranged(reply, request.headers.range), fault)
  }

  #mayPass(request: IncomingMessage, url: URL): Reply | undefined {
    const { basic, tokens } = this.#options
    const authorization = request.headers.authorization ?? ''
    if (basic) {
      const wanted = Buffer.from(`${basic.username}:${basic.password}`).toString('base64')
      if (authorization === `Basic ${wanted}`) return undefined
      return errorReply(401, 'UNAUTHORIZED', 'authentication required', {
        'www-authenticate': 'Basic realm="test"',
      })
    }
    if (!tokens) return undefined
    const why = this.tokens.refusal(authorization, request.method ?? '', url)
    if (why === undefined) return undefined
    const realm = tokens.realm ?? `${this.base}/token`
    return errorReply(401, 'UNAUTHORIZED', 'authentication required', {
      'www-authenticate': `Bearer realm="${realm}",service="test registry"${why === '' ? '' : `,error="${why}"`}`,
    })
  }

  async #reply(request: IncomingMessage, url: URL, body: Buffer): Promise<Reply> {
    if (url.pathname === '/token') return this.tokens.answer(request, url, body)
    const refused = this.#mayPass(request, url)
    if (refused) return refused
    if (url.pathname === '/v2/') return { status: 200, headers: {}, body: Buffer.from('{}') }
    if (url.pathname === '/v1/search') return this.#search(url)
    const uploading = this.uploads.answer(request, url, body)
    if (uploading) return uploading
    const [, repository = '', kind = '', reference = ''] =
      /^\/v2\/(.+)\/(blobs|manifests|tags)\/(.+)$/.exec(url.pathname) ?? []
    if (kind === 'tags') return this.#tags(repository, url)
    if (kind === 'manifests') return this.#manifest(request, repository, reference, body)
    const blob = this.blobs.get(reference)
    if (!blob || !this.uploads.has(repository, reference))
      return errorReply(404, 'BLOB_UNKNOWN', 'blob unknown to registry')
    return { status: 200, headers: { 'content-type': 'application/octet-stream' }, body: blob }
  }

  #manifest(request: IncomingMessage, repository: string, reference: string, body: Buffer): Reply {
    if (request.method === 'PUT') {
      const type = request.headers['content-type'] ?? ''
      const digest = digestOf(body)
      for (const name of [reference, digest])
        this.manifests.set(`${repository}:${name}`, { type, bytes: body })
      return { status: 201, headers: { 'docker-content-digest': digest }, body: Buffer.of() }
    }
    const found = this.manifests.get(`${repository}:${reference}`)
    if (!found) return errorReply(404, 'MANIFEST_UNKNOWN', 'manifest unknown')
    const headers = { 'content-type': found.type, 'docker-content-digest': digestOf(found.bytes) }
    return { status: 200, headers, body: found.bytes }
  }

  #search(url: URL): Reply {
    const results = this.searchable
      .filter(result => !('name' in result) || String(result.name).includes(url.searchParams.get('q') ?? ''))
      .slice(0, Number(url.searchParams.get('n')))
    const body = { query: url.searchParams.get('q'), num_results: results.length, results }
    return {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)),
    }
  }

  #tags(repository: string, url: URL): Reply {
    const all = [...this.manifests.keys()]
      .filter(name => name.startsWith(`${repository}:`) && !name.includes(':sha256:'))
      .map(name => name.slice(repository.length + 1))
      .sort()
    const last = url.searchParams.get('last') ?? ''
    const rest = all.filter(tag => tag > last)
    const tags = rest.slice(0, this.#options.page ?? rest.length)
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (tags.length < rest.length)
      headers['link'] = `<${url.pathname}?last=${tags.at(-1)}&n=${this.#options.page}>; rel="next"`
    return { status: 200, headers, body: Buffer.from(JSON.stringify({ name: repository, tags })) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }
}

export const startRegistry = (options: TestRegistryOptions = {}): Promise<TestRegistry> =>
  new Registry(options).listen()
