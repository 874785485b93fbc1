import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import type { Given } from './flags.ts'

/** How the API's TCP listeners speak TLS. */
export interface TlsSettings {
  /** Clients must show a certificate of the authority. */
  verify: boolean
  /** PEM texts, read when the options were. */
  authority: string | undefined
  cert: string
  key: string
}

/** As dockerd: the client's own folder, which may be named by its variables. */
const defaultFolder = (): string =>
  process.env['DOCKER_CERT_PATH'] || process.env['DOCKER_CONFIG'] || path.join(homedir(), '.docker')

const invalid = (text: string, cause: unknown): Error =>
  badRequest(`invalid TLS configuration: ${text}: ${messageOf(cause)}`, cause)

const readPair = (cert: string, key: string): { cert: string; key: string } => {
  const files = `(cert: ${JSON.stringify(cert)}, key: ${JSON.stringify(key)})`
  try {
    const pair = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
    createSecureContext(pair)
    return pair
  } catch (error) {
    throw invalid(
      hasCode(error, 'ENOENT')
        ? `could not load X509 key pair ${files}`
        : `error reading X509 key pair - make sure the key is not encrypted ${files}`,
      error,
    )
  }
}

const readAuthority = (file: string): string => {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw invalid(`could not read CA certificate ${JSON.stringify(file)}`, error)
  }
  try {
    if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it holds no certificate')
    createSecureContext({ ca: text })
    return text
  } catch (error) {
    throw invalid(`failed to append certificates from PEM file: ${JSON.stringify(file)}`, error)
  }
}

/**
 * Undefined where TCP goes without TLS. As with dockerd, to speak of `tlsverify`
 * turns TLS on even where it says false, and TLS verifies unless told not to.
 * Errors: `bad-request` where a file cannot be used.
 */
export const tlsSettingsOf = (values: Given): TlsSettings | undefined => {
  if (!values.has('tlsverify') && values.get('tls') !== true) return undefined
  const verify = values.get('tlsverify') !== false
  const file = (name: string, otherwise: string): string =>
    (values.get(name) as string | undefined) ?? path.join(defaultFolder(), otherwise)
  return {
    verify,
    ...readPair(file('tlscert', 'cert.pem'), file('tlskey', 'key.pem')),
    authority: verify ? readAuthority(file('tlscacert', 'ca.pem')) : undefined,
  }
}

export const secureOptionsOf = ({ cert, key, authority }: TlsSettings): SecureContextOptions => ({
  cert,
  key,
  minVersion: 'TLSv1.2',
  ...(authority === undefined ? {} : { ca: authority }),
})
