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

/** As Docker's: what an event is about, by the beginning of its id or name, whatever its type. */
const names = ({ Actor }: EventMessage, wanted: string): boolean =>
  Actor.ID.startsWith(wanted) || (Actor.Attributes['name'] ?? '').startsWith(wanted)

const objects = ['config', 'container', 'daemon', 'network', 'node', 'plugin', 'secret', 'service', 'volume']

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
    filters.some('image', wanted => imageNamed(event, wanted)) &&
    objects.every(kind => filters.some(kind, wanted => names(event, wanted)))
}
