import { createServer, type IncomingMessage, request as plainRequest, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

/** A proxy of HTTP that sends everything to one server, whatever name was asked for. */
export interface TestProxy extends AsyncDisposable {
  url: string
  /** Names of CONNECT requests, and addresses of plain ones. */
  seen: string[]
}

export const startProxy = async (options: { to: string; authorization?: string }): Promise<TestProxy> => {
  const seen: string[] = []
  const [host = '', port = ''] = options.to.split(':')
  const allowed = (request: IncomingMessage): boolean =>
    options.authorization === undefined || request.headers['proxy-authorization'] === options.authorization
  const forward = (request: IncomingMessage, response: ServerResponse): void => {
    seen.push(request.url ?? '')
    if (!allowed(request)) return void response.writeHead(407).end()
    const { pathname, search } = new URL(request.url ?? '')
    const { method, headers } = request
    const onward = plainRequest({ host, port, path: pathname + search, method, headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  }
  const server = createServer(forward)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  }
  server.on('connection', keep)
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    seen.push(request.url ?? '')
    if (!allowed(request)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    keep(onward)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: () =>
      new Promise<void>(resolve => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}
