import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/image.ts'

/**
 * Speaking the OCI distribution protocol 1.1 (and what Docker's registry does besides). Vocabulary:
 *
 * - **registry**: who is named in a reference: `docker.io`, `localhost:5000`.
 * - **host**: one place that answers for a registry: itself, or a mirror. Several are asked in turn.
 * - **repository**: the path of a reference: `library/busybox`.
 * - **scope**: what a token allows: `repository:library/busybox:pull`.
 *
 * A blob's bytes come as they are stored, from any offset; whoever takes them checks the digest.
 */

/** Credentials as a client sends them in `X-Registry-Auth`. Never in a log or an error. */
export interface Credentials {
  username: string
  password: string
  /** Used instead of a password to get tokens. */
  identityToken: string
  /** Sent as it is. */
  registryToken: string
}

/** What a host may be asked for. */
export type Capability = 'pull' | 'resolve' | 'push'

export interface HostTls {
  /** PEM texts besides the system's. */
  authorities: string[]
  client?: { certificate: string; key: string }
  skipVerify: boolean
}

export interface RegistryHost {
  /** `https://registry-1.docker.io`, without `/v2`. */
  base: string
  capabilities: ReadonlySet<Capability>
  /** Told to a mirror as `?ns=`: the registry that it stands for; empty for the registry itself. */
  namespace: string
  /** The base has its path already: no `/v2` is put in between. */
  overridePath: boolean
  tls: HostTls
  /** The folder of its certificates, whether it is there or not. */
  certificates?: string
  headers: Record<string, string[]>
}

/** What daemon.json and flags say of registries. */
export interface RegistrySettings {
  /** `--registry-mirror`: of docker.io. */
  mirrors: string[]
  /** `--insecure-registry`: `host[:port]` or CIDR. Loopback is always. */
  insecure: string[]
  /** Folders with `<registry>/hosts.toml`, `*.crt`, `*.cert`, `*.key`, the first that has one counts. */
  certificateFolders: string[]
  proxies: { http: string; https: string; no: string }
  /** Attempts for one chunk before it fails (`max-download-attempts`). */
  attempts: number
  userAgent: string
}

export interface ManifestAnswer {
  descriptor: Descriptor
  /** As the registry sent it: its digest is the descriptor's. */
  bytes: Buffer
}

/** Told while a blob comes or goes, for messages and figures. */
export interface TransferFollower {
  /** An attempt failed after so many bytes in all, and another follows after a pause (ms). */
  retry?(why: string, bytes: number, pause: number): void
  /** So many bytes came that were there already, as a host gives blobs from their beginning only. */
  repeated?(bytes: number): void
}

export interface BlobOptions {
  signal: AbortSignal
  /** Bytes that are there already. */
  offset?: number
  follower?: TransferFollower
}

/** One repository at one registry, with one client's credentials. */
export interface Repository {
  /**
   * By tag or digest. Errors: `manifest-unknown`, `name-unknown`, `denied` and `unauthorized` in Docker's words,
   * `registry-unreachable`, `registry-untrusted` (TLS), `registry-failed` (its own errors), `registry-refused`,
   * `too-many-requests`, `digest-mismatch`.
   */
  manifest(reference: string, signal: AbortSignal): Promise<ManifestAnswer>
  /** The same without its bytes where the registry tells the digest by HEAD. */
  resolve(reference: string, signal: AbortSignal): Promise<Descriptor>
  /**
   * The bytes of a blob from `offset` on. A cut connection is mended within: the range that is missing is asked for
   * again, at any host that has it. Errors: as above, and `blob-unknown`.
   */
  blob(descriptor: Descriptor, options: BlobOptions): AsyncIterable<Uint8Array>
  /** Pages are followed. */
  tags(signal: AbortSignal): AsyncIterable<string>
  hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean>
  /** The same of a manifest or an index; with a tag, whether it stands for it. */
  hasManifest(digest: Digest, signal: AbortSignal, tag?: string): Promise<boolean>
  /** True where the registry took it from the other repository: nothing is to be sent. */
  mountBlob(digest: Digest, from: string, signal: AbortSignal): Promise<boolean>
  /**
   * Sends a blob, in chunks that are taken up again after a cut. `open` gives its bytes from an offset on. `sent` is told
   * how many are on their way in all; after a cut that may be fewer than before. Errors: as above, `blob-short` where
   * `open` ends early, and what `open` throws.
   */
  uploadBlob(
    descriptor: Descriptor,
    open: (offset: number) => AsyncIterable<Uint8Array>,
    options: { signal: AbortSignal; sent?: (bytes: number) => void; follower?: TransferFollower },
  ): Promise<void>
  /** Under a tag, or by its digest alone. */
  putManifest(reference: string, manifest: ManifestAnswer, signal: AbortSignal): Promise<void>
}

/** What images are taken from: a repository, or what has images as one has. */
export type ImageSource = Pick<Repository, 'manifest' | 'blob'>

/** What an address gives. One reader only. */
export interface Download {
  /** Undefined where the server does not tell. */
  size: number | undefined
  /** By names in small letters. */
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** It is what the asker knows, and does not come again: there are no bytes. */
  isKnown: boolean
  bytes: AsyncIterable<Uint8Array>
}

/** As the API gives it. */
export interface SearchResult {
  name: string
  description: string
  star_count: number
  is_official: boolean
  is_automated: boolean
}

export interface Search {
  term: string
  limit: number
  credentials: Credentials | undefined
  signal: AbortSignal
}

export interface RegistryClient {
  repository(registry: string, path: string, credentials: Credentials | undefined): Repository
  /** `POST /auth`: gives an identity token where the registry has such, else an empty text. Errors: `unauthorized`. */
  login(registry: string, credentials: Credentials, signal: AbortSignal): Promise<{ identityToken: string }>
  /** Errors: `registry-failed` where it cannot be searched. */
  search(registry: string, search: Search): Promise<SearchResult[]>
  /** Whatever an address of http or https gives, over the same proxies. `known`: the ETag of what need not come again. */
  download(url: URL, signal: AbortSignal, known?: string): Promise<Download>
  /** For what begins from now on; what is under way goes on under the settings that it began with. Proxies stay. */
  configure(settings: Pick<RegistrySettings, 'mirrors' | 'insecure' | 'attempts'>): void
  /** Ends all connections; what is under way fails. */
  close(): Promise<void>
}
