import { badRequest } from '../core/errors.ts'
import { truthOf } from '../wire/truth.ts'

/** Features of dockerd that mean nothing here, and why. */
const pointless: Record<string, string> = {
  'containerd-snapshotter': 'images are always in Berth’s own store',
  'containerd-migration': 'images are always in Berth’s own store',
  'embedded-containerd': 'there is no containerd',
}

const isOn = (name: string, value: unknown): boolean => {
  // By flag it may be the name alone.
  const truth = typeof value === 'boolean' ? value : value === '' || truthOf(String(value))
  if (truth === undefined)
    throw badRequest(`invalid value ${JSON.stringify(value)} of the feature ${name}: want true or false`)
  return truth
}

export interface Features {
  /** Whether clients that ask are told to build by BuildKit's protocol. */
  buildkit: boolean
  cdi: boolean
  warnings: string[]
}

/** `features` of daemon.json and `--feature NAME[=BOOL]`. Errors: `bad-request`. */
export const featuresOf = (given: unknown): Features => {
  const values = new Map(
    Object.entries((given ?? {}) as Record<string, unknown>).map(([name, value]) => [
      name,
      isOn(name, value),
    ]),
  )
  return {
    buildkit: values.get('buildkit') ?? true,
    cdi: values.get('cdi') ?? true,
    warnings: [...values].flatMap(([name, value]) =>
      value && pointless[name] ? [`the feature ${name} has no effect: ${pointless[name]}`] : [],
    ),
  }
}
