import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { SessionConnection } from '../../build/session/types.ts'
import { badRequest } from '../../core/errors.ts'
import { detach, restartReading, sentAhead, type UpgradeLeft } from '../hijack.ts'

/**
 * Connections that BuildKit's clients turn from HTTP/1.1 into HTTP/2: `/grpc`,
 * on which they call us, and `/session`, on which we call them. HTTP/2 begins
 * right behind the 101, with prior knowledge.
 */

/** Errors: `bad-request` where the client asks for no HTTP/2. */
const checkUpgrade = ({ headers: { upgrade } }: IncomingMessage): void => {
  if (upgrade?.toLowerCase() === 'h2c') return
  throw badRequest(upgrade ? `protocol ${upgrade} not supported` : 'no upgrade proto in request')
}

const answer = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'

/**
 * Answers an upgrade with 101 and gives its connection, with what the client has
 * sent ahead put back. To be used for HTTP/2 in the same turn. `taken` is called once
 * nothing can refuse it. Errors: `bad-request`.
 */
export const upgradeToH2c = (
  req: IncomingMessage,
  left: UpgradeLeft | undefined,
  taken: () => void = () => {},
): Socket => {
  checkUpgrade(req)
  if (!left) throw badRequest('no upgrade proto in request')
  taken()
  const { socket } = req
  detach(socket)
  // Without an end of its own half a client that leaves would leave its socket.
  socket.allowHalfOpen = false
  socket.write(answer)
  const ahead = sentAhead(socket, left)
  if (ahead.length > 0) socket.unshift(ahead)
  restartReading(socket)
  return socket
}

/** What a session's request tells of its client. Errors: `bad-request`. */
export const sessionFields = (req: IncomingMessage): Omit<SessionConnection, 'socket' | 'head'> => {
  const field = (name: string): string => String(req.headers[`x-docker-expose-session-${name}`] ?? '')
  checkUpgrade(req)
  if (field('uuid') === '') throw badRequest('the session has no id: X-Docker-Expose-Session-Uuid is missing')
  const timeout = Number(req.headers['x-buildkit-session-health-custom-timeout'])
  return {
    ...(timeout > 0 ? { healthTimeout: timeout } : {}),
    id: field('uuid'),
    name: field('name'),
    sharedKey: field('sharedkey'),
    // A field for each; Node's `headers` would have joined them.
    methods: req.headersDistinct['x-docker-expose-session-grpc-method'] ?? [],
  }
}
