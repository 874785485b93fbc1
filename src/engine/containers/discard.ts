import type { CgroupSupport } from '../../linux/cgroupSupport.ts'
import type { Resources } from '../../wire/container.ts'

export interface ResourceCheck {
  resources: Resources
  update: boolean
  support: CgroupSupport
  /** Added to. */
  warnings: string[]
}

/** Takes `keys` out with a warning, where one was asked for and the host does not have it. */
export const discard = (
  { resources, warnings }: ResourceCheck,
  supported: boolean,
  { keys, warning }: { keys: (keyof Resources)[]; warning: string },
): void => {
  if (supported) return
  const asked = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : !!value)
  if (keys.some(key => asked(resources[key]))) warnings.push(warning)
  for (const key of keys) delete resources[key]
}
