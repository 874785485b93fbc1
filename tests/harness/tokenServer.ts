import { randomUUID, sign, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { makeCertificates } from '../../src/registry-client/testing/certificates.ts'
import type { DistributionOptions } from '../../src/registry-client/testing/distribution.ts'
import { serveBeside, startBeside } from './beside.ts'

/** A token server as registries of the world have one: Docker's token specification, with signed tokens. */
export interface TokenServer extends AsyncDisposable {
  /** For a registry that trusts it. */
  trust: NonNullable<DistributionOptions['token']>
  /** Scopes that were asked for, by request. */
  asked: string[]
}

interface Rules {
  users: Record<string, string>
  /** PEM texts. */
  cert: string
  key: string
}

const service = 'registry.test'
const issuer = 'tokens.test'

/** In a process of its own within a network namespace; its certificate is written into the folder. */
export const startTokenServer = async (
  namespace: string,
  { folder, users }: { folder: string; users: Record<string, string> },
): Promise<TokenServer> => {
  const { server } = makeCertificates()
  const certificate = path.join(folder, 'tokens.crt')
  writeFileSync(certificate, server.cert)
  const beside = await startBeside(namespace, import.meta.filename, JSON.stringify({ users, ...server }))
  const asked: string[] = []
  beside.lines.on('line', scope => asked.push(scope))
  return {
    trust: { realm: beside.first, service, issuer, certificate },
    asked,
    [Symbol.asyncDispose]: () => beside[Symbol.asyncDispose](),
  }
}

const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A JSON web token, ES256, with the certificate that it is signed by. */
const tokenOf = ({ cert, key }: Rules, access: object[]): string => {
  const now = Math.floor(Date.now() / 1000)
  const head = { typ: 'JWT', alg: 'ES256', x5c: [new X509Certificate(cert).raw.toString('base64')] }
  const claims = {
    iss: issuer,
    sub: '',
    aud: service,
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: randomUUID(),
  }
  const signed = `${base64(head)}.${base64({ ...claims, access })}`
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

const known = ({ users }: Rules, authorization: string | undefined): boolean => {
  const [user = '', password] = Buffer.from((authorization ?? '').replace(/^Basic /, ''), 'base64')
    .toString()
    .split(':')
  return password !== undefined && users[user] === password
}

/** Whoever is known may do anything, others may pull from `public/…`. */
const granted = (scope: string, isKnown: boolean): object[] => {
  const [type = '', name = '', actions = ''] = scope.split(':')
  const allowed = actions
    .split(',')
    .filter(action => isKnown || (action === 'pull' && name.startsWith('public/')))
  return [{ type, name, actions: allowed }]
}

const serve = async (rules: Rules): Promise<void> => {
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://tokens')
    const scopes = searchParams.getAll('scope').flatMap(text => text.split(' '))
    process.stdout.write(`${scopes.join(' ')}\n`)
    const { authorization } = request.headers
    const isKnown = known(rules, authorization)
    if (authorization !== undefined && !isKnown) return void response.writeHead(401).end('{}')
    const token = tokenOf(
      rules,
      scopes.flatMap(scope => granted(scope, isKnown)),
    )
    response.writeHead(200, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify({ token, access_token: token, expires_in: 300 }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  await serveBeside(`http://127.0.0.1:${(server.address() as AddressInfo).port}/token`)
}

if (import.meta.main) await serve(JSON.parse(process.argv[2] ?? '{}') as Rules)
