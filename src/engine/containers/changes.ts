import type { Change } from '../../store/types.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'

/** Places where the runtime makes an empty file for what Berth mounts there: nothing that the container wrote. */
const mountStubs = ['/etc/hostname', '/etc/hosts', '/etc/resolv.conf', '/sbin/docker-init']

const added = 1
const modified = 0

/** Without the stubs, and without directories that changed only because of them. */
export const withoutStubs = (changes: readonly Change[]): Change[] => {
  const stubs = new Set(
    changes.filter(({ Path, Kind }) => Kind === added && mountStubs.includes(Path)).map(({ Path }) => Path),
  )
  const rest = changes.filter(({ Path }) => !stubs.has(Path))
  return rest.filter(({ Path, Kind }) => {
    const inside = `${Path}/`
    const changedByStub = Kind === modified && [...stubs].some(stub => stub.startsWith(inside))
    return !changedByStub || rest.some(other => other.Path.startsWith(inside))
  })
}

/** `GET /containers/{id}/changes`, in path order. */
export const containerChanges = async (engine: Engine, container: Container): Promise<Change[]> =>
  withoutStubs(await engine.uppers.changes(container.id))
