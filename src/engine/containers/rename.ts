import { badRequest, prefixed } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'

/** Errors: those of a name that is taken or none, in Docker's words. */
const reserve = (engine: Engine, { id }: Container, name: string): void => {
  try {
    engine.containers.reserveName(name, id)
  } catch (error) {
    throw prefixed('Error when allocating new name', error)
  }
}

/** `POST /containers/{id}/rename`: durable when it settles; the old name is free then. */
export const renameContainer = async (engine: Engine, container: Container, name: string): Promise<void> => {
  const wanted = name.replace(/^\//, '')
  if (wanted === '') throw badRequest('Neither old nor new names may be empty')
  const before = container.record.name
  if (wanted === before) throw badRequest('Renaming a container with the same name as its current name')
  reserve(engine, container, wanted)
  try {
    container.record.name = wanted
    failpoint('rename.reserved')
    await engine.containers.save(container, { durable: true })
  } catch (error) {
    container.record.name = before
    engine.containers.releaseName(wanted, container.id)
    throw error
  }
  failpoint('rename.saved')
  engine.connections.name(container.record)
  engine.containers.releaseName(before, container.id)
  containerEvent(engine, container, 'rename', { oldName: `/${before}` })
}
