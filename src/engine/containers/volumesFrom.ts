import { badRequest, messageOf } from '../../core/errors.ts'
import { isMode, propagations } from './mountModes.ts'
import type { Registry } from './registry.ts'
import type { MountPoint } from './types.ts'

/** `CONTAINER[:MODE]`. Errors: `bad-request` in Docker's words. */
const parseSource = (text: string): { reference: string; words: string[] } => {
  if (text === '') throw badRequest('volumes-from specification cannot be an empty string')
  const colon = text.indexOf(':')
  const [reference, mode] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  const words = mode === '' ? [] : mode.split(',')
  const fixed = [...propagations, 'nocopy', 'copy']
  if (!isMode(mode) || words.some(word => fixed.includes(word))) throw badRequest(`invalid mode: ${mode}`)
  return { reference, words }
}

/** A tmpfs is each container's own; the image's content is in the volumes already. */
const inherited = (mount: MountPoint, words: readonly string[]): MountPoint => ({
  ...mount,
  mode: '',
  readWrite: mount.readWrite && !words.includes('ro'),
  copyUp: false,
})

/** What `--volumes-from` brings; of several at one place the last. Errors: `bad-request`. */
export const mountsFrom = (containers: Registry, sources: readonly string[]): MountPoint[] => {
  const byPlace = new Map<string, MountPoint>()
  for (const source of sources) {
    const { reference, words } = parseSource(source)
    try {
      for (const mount of containers.get(reference).record.mounts)
        if (mount.type !== 'tmpfs') byPlace.set(mount.destination, inherited(mount, words))
    } catch (error) {
      throw badRequest(messageOf(error), error)
    }
  }
  return [...byPlace.values()]
}
