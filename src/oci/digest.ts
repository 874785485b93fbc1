import { createHash } from 'node:crypto'

/** `sha256:` and 64 lower-case hex digits (OCI image specification, descriptor.md). */
export type Digest = `sha256:${string}`

const form = /^sha256:[a-f0-9]{64}$/

export const isDigest = (text: string): text is Digest => form.test(text)

export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

export const digestHex = (digest: Digest): string => digest.slice('sha256:'.length)

/**
 * The chain id of a stack of layers, bottom first (OCI image specification,
 * config.md "Layer ChainID").
 */
export const chainId = (diffIds: readonly Digest[]): Digest => {
  const [first, ...rest] = diffIds
  if (!first) return digestOf('')
  return rest.reduce<Digest>((chain, diffId) => digestOf(`${chain} ${diffId}`), first)
}
