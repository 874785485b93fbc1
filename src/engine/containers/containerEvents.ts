import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'

/** Of these its image is known to be in use then. */
const uses = ['create', 'start', 'destroy']

/** Publishes an event of a container with the attributes that Docker gives: labels, image, name. */
export const containerEvent = (
  engine: Engine,
  container: Container,
  action: string,
  attributes: Record<string, string> = {},
): void => {
  const { config, name, imageId } = container.record
  if (uses.includes(action) && engine.images.byId(imageId)) engine.lastUse.note(imageId)
  engine.events.publish('container', action, container.id, {
    ...config.Labels,
    image: config.Image ?? '',
    name,
    ...attributes,
  })
}
