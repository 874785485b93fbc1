import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type OutgoingMember, writeTar } from '../../src/archive/writer.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Descriptor, mediaTypes } from '../../src/oci/image.ts'
import { startRegistry } from '../../src/registry-client/testing/registry.ts'
import { busyboxLayer, file } from './images.ts'

/**
 * An index of several platforms with attestations, as BuildKit writes it: as an archive, or at a registry. Each
 * image is busybox of this host with a file `/which`, so that those of foreign platforms run all the same.
 */
export interface PlatformImages {
  index: Descriptor
  /** By architecture: `amd64`. */
  images: Record<string, { manifest: Descriptor; config: Digest; attestation: Digest; statements: Digest[] }>
  blobs: Map<Digest, Buffer>
}

const tarOf = async (members: Iterable<OutgoingMember>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(writeTar(members)))

const provenance = 'https://slsa.dev/provenance/v1'
const sbom = 'https://spdx.dev/Document'

/** `which` tells images of different calls apart. */
export const platformImages = async (
  architectures: readonly string[],
  which = 'it',
): Promise<PlatformImages> => {
  const blobs = new Map<Digest, Buffer>()
  const put = (bytes: Buffer | string, mediaType: string): Descriptor => {
    const buffer = Buffer.from(bytes as string)
    const digest = digestOf(buffer)
    blobs.set(digest, buffer)
    return { mediaType, digest, size: buffer.length }
  }
  const putJson = (value: object, mediaType: string): Descriptor => put(JSON.stringify(value), mediaType)
  const images: PlatformImages['images'] = {}
  const manifests: Descriptor[] = []
  const attested: Descriptor[] = []
  const base = await tarOf(busyboxLayer())
  for (const architecture of architectures) {
    const own = await tarOf([file('which', `${which} ${architecture}`)])
    const config = putJson(
      {
        architecture,
        os: 'linux',
        created: '2026-01-02T03:04:05Z',
        config: { Env: ['PATH=/bin'], Cmd: ['sh'], Labels: { which, [architecture]: 'yes' } },
        rootfs: { type: 'layers', diff_ids: [base, own].map(digestOf) },
        history: [{ created_by: 'base' }, { created_by: architecture }],
      },
      mediaTypes.ociConfig,
    )
    const layers = [base, own].map(tar => put(tar, mediaTypes.ociLayer))
    const manifest = {
      ...putJson(
        { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers },
        mediaTypes.ociManifest,
      ),
      platform: { architecture, os: 'linux' },
    }
    const statements = [provenance, sbom].map(predicateType => ({
      ...putJson(
        {
          _type: 'https://in-toto.io/Statement/v0.1',
          predicateType,
          subject: [],
          predicate: { architecture },
        },
        'application/vnd.in-toto+json',
      ),
      annotations: { 'in-toto.io/predicate-type': predicateType },
    }))
    const unknown = { architecture: 'unknown', os: 'unknown' }
    const attestation = {
      ...putJson(
        {
          schemaVersion: 2,
          mediaType: mediaTypes.ociManifest,
          config: putJson(
            { ...unknown, config: {}, rootfs: { type: 'layers', diff_ids: statements.map(s => s.digest) } },
            mediaTypes.ociConfig,
          ),
          layers: statements,
        },
        mediaTypes.ociManifest,
      ),
      platform: unknown,
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': manifest.digest,
      },
    }
    manifests.push(manifest)
    attested.push(attestation)
    images[architecture] = {
      manifest,
      config: config.digest,
      attestation: attestation.digest,
      statements: statements.map(statement => statement.digest),
    }
  }
  const index = putJson(
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...manifests, ...attested] },
    mediaTypes.ociIndex,
  )
  return { index, images, blobs }
}

/** An archive as BuildKit's OCI exporter writes it; without what `without` names of its blobs. */
export const ociArchive = (
  { index, blobs }: PlatformImages,
  name: string,
  without: readonly Digest[] = [],
): Promise<Buffer> => {
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': '1' }
  return tarOf([
    ...[...blobs]
      .filter(([digest]) => !without.includes(digest))
      .map(([digest, bytes]) => file(`blobs/sha256/${digest.slice(7)}`, bytes)),
    file('index.json', JSON.stringify({ schemaVersion: 2, manifests: [{ ...index, annotations }] })),
    file('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' })),
  ])
}

interface Served {
  repository: string
  tag: string
  index: Descriptor
  blobs: [digest: Digest, base64: string][]
}

/** A registry of such images, in a process of its own within a network namespace. */
export class PlatformRegistry implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  address = ''

  private constructor(namespace: string) {
    this.#child = spawn('nsenter', [`--net=${namespace}`, process.execPath, import.meta.filename])
    this.#child.stderr.pipe(process.stderr)
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  static async start(namespace: string): Promise<PlatformRegistry> {
    const registry = new PlatformRegistry(namespace)
    registry.address = (await registry.#lines.next()).value
    return registry
  }

  async serve(repository: string, tag: string, { index, blobs }: PlatformImages): Promise<void> {
    const served: Served = {
      repository,
      tag,
      index,
      blobs: [...blobs].map(([digest, bytes]) => [digest, bytes.toString('base64')]),
    }
    this.#child.stdin.write(`${JSON.stringify(served)}\n`)
    await this.#lines.next()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise(resolve => this.#child.once('close', resolve))
    this.#child.stdin.end()
    await ended
  }
}

const serve = async (): Promise<void> => {
  const registry = await startRegistry()
  console.log(registry.address)
  for await (const line of createInterface(process.stdin)) {
    const { repository, tag, index, blobs } = JSON.parse(line) as Served
    for (const [digest, base64] of blobs) {
      const bytes = Buffer.from(base64, 'base64')
      registry.addBlob(bytes)
      const type = digest === index.digest ? index.mediaType : mediaTypes.ociManifest
      if (bytes[0] === 0x7b && bytes.includes('"schemaVersion"'))
        registry.addManifest(repository, digest === index.digest ? tag : digest, JSON.parse(`${bytes}`), type)
    }
    console.log('ok')
  }
  process.exit()
}

if (import.meta.main) await serve()
