import { badRequest } from '../../core/errors.ts'
import { Filters } from '../../wire/filters.ts'
import type { EventMessage } from './types.ts'

const known = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
]

/** An object by id, prefix of it, or name, in the way each kind of event tells them. */
const names = (event: EventMessage, type: EventMessage['Type'], wanted: string): boolean =>
  event.Type === type &&
  (event.Actor.ID === wanted ||
    event.Actor.Attributes['name'] === wanted ||
    (wanted.length >= 4 && event.Actor.ID.startsWith(wanted)))

const imageNamed = (event: EventMessage, wanted: string): boolean => {
  const name =
    event.Type === 'image' ? (event.Actor.Attributes['name'] ?? '') : (event.Actor.Attributes['image'] ?? '')
  const without = name.replace(/:[^:/]+$/, '')
  return event.Actor.ID === wanted || name === wanted || without === wanted
}

/** The `filters` of `GET /events`. Errors: `bad-request`. */
export const eventFilter = (text: string | undefined): ((event: EventMessage) => boolean) => {
  const filters = Filters.parse(text, known)
  for (const type of filters.get('type')) if (type === '') throw badRequest("invalid filter 'type='")
  return event =>
    filters.some('event', wanted => event.Action === wanted || event.Action.startsWith(`${wanted}:`)) &&
    filters.exact('type', event.Type) &&
    filters.exact('scope', event.scope) &&
    filters.labels('label', event.Actor.Attributes) &&
    filters.some('container', wanted => names(event, 'container', wanted)) &&
    filters.some('network', wanted => names(event, 'network', wanted)) &&
    filters.some('volume', wanted => names(event, 'volume', wanted)) &&
    filters.some('daemon', wanted => names(event, 'daemon', wanted)) &&
    filters.some('image', wanted => imageNamed(event, wanted)) &&
    ['config', 'node', 'plugin', 'secret', 'service'].every(kind => !filters.has(kind))
}
