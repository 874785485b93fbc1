import { createHash, hash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createRegistryClient } from '../client.ts'
import type { Timings } from '../transport.ts'
import type { Credentials, RegistryClient, RegistrySettings } from '../types.ts'

export const quick: Timings = { connect: 5_000, silence: 20_000, firstPause: 1, longestPause: 5 }

export const settingsOf = (given: Partial<RegistrySettings> = {}): RegistrySettings => ({
  mirrors: [],
  insecure: [],
  certificateFolders: [],
  proxies: { http: '', https: '', no: '' },
  attempts: 5,
  userAgent: 'berth/test',
  ...given,
})

/** A client that hurries. */
export const startClient = (
  given: Partial<RegistrySettings> = {},
  timings: Partial<Timings> = {},
): RegistryClient & AsyncDisposable => {
  const client = createRegistryClient(settingsOf(given), { ...quick, ...timings })
  return {
    configure: settings => client.configure(settings),
    repository: (...args) => client.repository(...args),
    login: (...args) => client.login(...args),
    search: (...args) => client.search(...args),
    download: (...args) => client.download(...args),
    close: () => client.close(),
    [Symbol.asyncDispose]: () => client.close(),
  }
}

/** A folder as `/etc/docker/certs.d`, by registry and file. */
export const startFolder = (files: Record<string, Record<string, string>>): Disposable & { path: string } => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-certs-'))
  for (const [registry, texts] of Object.entries(files)) {
    mkdirSync(path.join(folder, registry))
    for (const [name, text] of Object.entries(texts)) writeFileSync(path.join(folder, registry, name), text)
  }
  return { path: folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

export const credentialsOf = (given: Partial<Credentials>): Credentials => ({
  username: '',
  password: '',
  identityToken: '',
  registryToken: '',
  ...given,
})

/** Bytes that differ everywhere, the same for the same size. */
export const someBytes = (size: number): Buffer => {
  const blocks: Buffer[] = []
  for (let at = 0; at < size; at += 32) blocks.push(hash('sha256', String(at), 'buffer'))
  return Buffer.concat(blocks).subarray(0, size)
}

/** What came of an iterable: its length and digest, without keeping it. */
export const summary = async (
  bytes: AsyncIterable<Uint8Array>,
): Promise<{ size: number; digest: string }> => {
  const digest = createHash('sha256')
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    digest.update(chunk)
  }
  return { size, digest: `sha256:${digest.digest('hex')}` }
}

/** Bytes from an offset on, in pieces. */
export const pieces = (bytes: Buffer, piece = 65_536) =>
  async function* (offset: number): AsyncGenerator<Uint8Array> {
    for (let at = offset; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece)
  }

/** For what ends by itself. */
export const never = new AbortController().signal
