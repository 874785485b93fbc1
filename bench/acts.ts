import { createReadStream } from 'node:fs'
import { beginWait, call, drain, json, openStream } from './client.ts'

/** What clients do, each as one call of this file; `socket` is the engine's. */

export interface CreateOptions {
  image?: string
  command?: string[]
  remove?: boolean
  log?: string
  /** Published at the same ports of the host. */
  ports?: number[]
  /** `NAME:/path` */
  binds?: string[]
  network?: string
  dns?: string[]
}

const expectZero = (code: number, what: string): void => {
  if (code !== 0) throw new Error(`${what} ended with ${code}`)
}

export const create = async (socket: string, options: CreateOptions): Promise<string> => {
  const body = {
    Image: options.image ?? 'busybox:latest',
    Cmd: options.command ?? ['true'],
    ExposedPorts: Object.fromEntries((options.ports ?? []).map(port => [`${port}/tcp`, {}])),
    HostConfig: {
      AutoRemove: options.remove ?? false,
      ...(options.binds ? { Binds: options.binds } : {}),
      PortBindings: Object.fromEntries(
        (options.ports ?? []).map(port => [`${port}/tcp`, [{ HostPort: String(port) }]]),
      ),
      ...(options.network ? { NetworkMode: options.network } : {}),
      ...(options.dns ? { Dns: options.dns } : {}),
      ...(options.log ? { LogConfig: { Type: options.log, Config: {} } } : {}),
    },
  }
  return (await json<{ Id: string }>(socket, 'POST /containers/create', { body })).Id
}

export const start = (socket: string, id: string): Promise<string> =>
  call(socket, `POST /containers/${id}/start`)

export const remove = (socket: string, id: string): Promise<string> =>
  call(socket, `DELETE /containers/${id}?force=1&v=1`)

/** `docker run --rm busybox true` without the attached stream. */
export const runAndRemove = async (socket: string, options: CreateOptions = {}): Promise<void> => {
  const id = await create(socket, { ...options, remove: true })
  const { exit } = await beginWait(socket, id, 'removed')
  await start(socket, id)
  expectZero(await exit, 'run')
}

/** `docker run -d busybox sleep`. */
export const runSleeper = async (socket: string): Promise<string> => {
  const id = await create(socket, { command: ['sleep', '100000'] })
  await start(socket, id)
  return id
}

/** `docker exec ID true`. */
export const execTrue = async (socket: string, id: string): Promise<void> => {
  const body = { Cmd: ['true'], AttachStdout: true, AttachStderr: true }
  const { Id } = await json<{ Id: string }>(socket, `POST /containers/${id}/exec`, { body })
  await (await openStream(socket, `POST /exec/${Id}/start`, { Detach: false, Tty: false })).end
  const { ExitCode } = await json<{ ExitCode: number }>(socket, `GET /exec/${Id}/json`)
  expectZero(ExitCode, 'exec')
}

/** Runs `act` on each, at most `width` at a time. */
export const inParallel = async <A, B>(
  items: readonly A[],
  width: number,
  act: (item: A) => Promise<B>,
): Promise<B[]> => {
  const results: B[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await act(item)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}

/** An error inside an answer's stream is one too. */
const withoutErrors = (text: string, what: string): void => {
  if (/"error/.test(text)) throw new Error(`${what}: ${text.slice(-1000)}`)
}

/** `docker load` */
export const load = async (socket: string, file: string): Promise<void> => {
  const text = await call(socket, 'POST /images/load?quiet=1', { stream: createReadStream(file) })
  withoutErrors(text, `load of ${file}`)
}

/** `docker pull` of `repository` at its `tag`. */
export const pull = async (socket: string, repository: string, tag: string): Promise<void> => {
  const query = new URLSearchParams({ fromImage: repository, tag })
  withoutErrors(await call(socket, `POST /images/create?${query}`), `pull of ${repository}:${tag}`)
}

/** `docker push` without credentials. */
export const push = async (socket: string, repository: string, tag: string): Promise<void> => {
  const nobody = Buffer.from('{}').toString('base64url')
  const text = await call(socket, `POST /images/${repository}/push?tag=${tag}`, {
    headers: { 'X-Registry-Auth': nobody },
  })
  withoutErrors(text, `push of ${repository}:${tag}`)
}

/** `docker tag` */
export const tagImage = (socket: string, name: string, repository: string, tag: string): Promise<string> =>
  call(socket, `POST /images/${name}/tag?${new URLSearchParams({ repo: repository, tag })}`)

/** `docker save`; gives the archive's bytes. */
export const save = (socket: string, name: string): Promise<number> =>
  drain(socket, `GET /images/${name}/get`)

export const removeImage = (socket: string, name: string): Promise<string> =>
  call(socket, `DELETE /images/${name}?force=1`)
