import type { HealthConfig } from '../../oci/image.ts'
import { quote } from '../dockerfile/characters.ts'
import type { PlannedStage, Planning } from './stage.ts'

/** What an image's history says of an instruction, as BuildKit writes it. */

export const dateOf = (seconds: number): string =>
  new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')

/** `isBuilt`: its files are what the builder made. */
export const addHistory = (
  { epoch }: Pick<Planning, 'epoch'>,
  { image }: PlannedStage,
  text: string,
  { hasLayer = false, isBuilt = false }: { hasLayer?: boolean; isBuilt?: boolean } = {},
): void => {
  image.history = [
    ...(image.history ?? []),
    {
      ...(epoch === undefined ? {} : { created: dateOf(epoch) }),
      created_by: isBuilt ? `${text} # buildkit` : text,
      comment: 'buildkit.dockerfile.v0',
      ...(hasLayer ? {} : { empty_layer: true }),
    },
  ]
}

/** `["a" "b"]` */
export const quotedList = (words: string[]): string => `[${words.map(quote).join(' ')}]`

/** `[a b]` */
export const plainList = (words: string[]): string => `[${words.join(' ')}]`

const units: [size: number, name: string][] = [
  [3600e9, 'h'],
  [60e9, 'm'],
]

/** `1m30s`: nanoseconds as Go writes them. */
const durationText = (nanoseconds = 0): string => {
  if (nanoseconds === 0) return '0s'
  if (nanoseconds < 1e9) {
    const [size, unit] = nanoseconds < 1e3 ? [1, 'ns'] : nanoseconds < 1e6 ? [1e3, 'µs'] : [1e6, 'ms']
    return `${nanoseconds / Number(size)}${unit}`
  }
  let rest = nanoseconds
  let text = ''
  for (const [size, name] of units) {
    const count = Math.floor(rest / size)
    if (count > 0 || text !== '') text += `${count}${name}`
    rest -= count * size
  }
  return `${text}${rest / 1e9}s`
}

export const healthText = ({
  Test,
  Interval,
  Timeout,
  StartPeriod,
  StartInterval,
  Retries,
}: HealthConfig): string =>
  `HEALTHCHECK {Test:${plainList(Test ?? [])} Interval:${durationText(Interval)} Timeout:${durationText(Timeout)} StartPeriod:${durationText(StartPeriod)} StartInterval:${durationText(StartInterval)} Retries:${Retries ?? 0}}`
