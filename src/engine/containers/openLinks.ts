import path from 'node:path'
import { BerthError, internal } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { setLinkedHost } from './files.ts'
import { addressOf, hostNames, linkedPorts } from './links.ts'

/** What links do to containers that run. */

/** Opens to a running container what its links lead to, and closes what they no longer do. */
export const openLinks = (engine: Engine, { record }: Container): void => {
  if (record.links) engine.connections.link(record, linkedPorts(engine, record))
}

/** Tells running containers that link to this one where it is now, or that it is nowhere. */
export const tellLinking = (engine: Engine, container: Container): void => {
  const address = addressOf(container)
  for (const parent of engine.containers.linking(container.id)) {
    if (!parent.isRunning) continue
    openLinks(engine, parent)
    if (!address) continue
    for (const link of parent.record.links ?? [])
      if (link.id === container.id)
        setLinkedHost(engine, parent.record, { names: hostNames(link, container), address })
  }
}

/** `docker rm --link parent/alias`. Errors: `no-such-container`, `conflict` for a name that is no link's. */
export const removeLink = async (engine: Engine, reference: string): Promise<void> => {
  const { dir, base: alias } = path.posix.parse(reference.replace(/^\//, ''))
  if (dir === '') throw internal('Conflict, cannot remove the default link name of the container')
  const parent = engine.containers.find(dir)
  if (!parent) throw internal(`Cannot get parent /${dir} for link name /${dir}/${alias}`)
  await parent.queue.run(async () => {
    const { record } = parent
    const links = (record.links ?? []).filter(link => link.alias !== alias)
    if (links.length === record.links?.length)
      throw new BerthError('no-such-container', 404, `No such container: ${reference}`)
    record.links = links
    await engine.containers.save(parent, { durable: true })
    if (parent.isRunning) openLinks(engine, parent)
  })
}
