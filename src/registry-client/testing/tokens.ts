import type { IncomingMessage } from 'node:http'

type Reply = { status: number; headers: Record<string, string>; body: Buffer }

export interface TokenRules {
  /** Where the challenge leads; this registry's own `/token` by default. */
  realm?: string
  users?: Record<string, string>
  /** Identity tokens that are taken. */
  identityTokens?: string[]
  /** Everybody may pull from these. */
  public?: string[]
  /** Seconds, told as `expires_in`; nothing is told by default. */
  expiresIn?: number
  /** POST is not known. */
  getOnly?: boolean
}

interface Grant {
  scopes: string[]
  revoked: boolean
}

const json = (status: number, body: object): Reply => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: Buffer.from(JSON.stringify(body)),
})

/** The token server of the tests' registry. */
export class Tokens {
  readonly #rules: TokenRules
  readonly #grants = new Map<string, Grant>()
  /** Scopes of each token that was given, in order. */
  readonly given: string[][] = []

  constructor(rules: TokenRules = {}) {
    this.#rules = rules
  }

  revokeAll(): void {
    for (const grant of this.#grants.values()) grant.revoked = true
  }

  #grant(scopes: string[], known: boolean, refresh: string): Reply {
    const allowed = scopes.filter(scope => {
      const [, repository = '', actions] = scope.split(':')
      return known || (actions === 'pull' && this.#rules.public?.includes(repository))
    })
    const token = `token-${this.#grants.size + 1}`
    this.#grants.set(token, { scopes: allowed, revoked: false })
    this.given.push(scopes)
    const { expiresIn } = this.#rules
    return json(200, {
      token,
      ...(expiresIn === undefined ? {} : { expires_in: expiresIn }),
      ...(refresh === '' ? {} : { refresh_token: refresh }),
    })
  }

  answer(request: IncomingMessage, url: URL, body: Buffer): Reply {
    const refused = json(401, { details: 'incorrect username or password' })
    if (request.method === 'POST') {
      if (this.#rules.getOnly) return json(405, {})
      const form = new URLSearchParams(body.toString())
      const known = this.#rules.identityTokens?.includes(form.get('refresh_token') ?? '') ?? false
      return known ? this.#grant((form.get('scope') ?? '').split(' '), true, '') : refused
    }
    const [name = '', secret = ''] = Buffer.from(
      (request.headers.authorization ?? '').replace(/^Basic /, ''),
      'base64',
    )
      .toString()
      .split(':')
    const known =
      this.#rules.users?.[name] === secret || this.#rules.identityTokens?.includes(secret) === true
    if (name !== '' && !known) return refused
    const offline = url.searchParams.get('offline_token') === 'true' && name !== ''
    return this.#grant(url.searchParams.getAll('scope'), name !== '', offline ? `identity of ${name}` : '')
  }

  /** Undefined where the request may pass; else the error that the challenge tells, or an empty text. */
  refusal(authorization: string, method: string, url: URL): string | undefined {
    const grant = this.#grants.get(authorization.replace(/^Bearer /, ''))
    if (authorization === '') return ''
    if (!grant || grant.revoked) return 'invalid_token'
    const [, repository] = /^\/v2\/(.+)\/(?:blobs|manifests|tags)\//.exec(url.pathname) ?? []
    if (repository === undefined) return undefined
    const needed = ['GET', 'HEAD'].includes(method) ? 'pull' : 'push'
    const enough = grant.scopes.some(scope => {
      const [, name, actions = ''] = scope.split(':')
      return name === repository && actions.split(',').includes(needed)
    })
    return enough ? undefined : 'insufficient_scope'
  }
}
