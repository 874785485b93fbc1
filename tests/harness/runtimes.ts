import { isVersionAtLeast } from '../../src/core/versions.ts'
import { must } from './shell.ts'

/** Whether a runtime is a runc before a version: what it was mended of then is not to be had of it. */
export const isRuncBefore = async (runtime: string, version: string): Promise<boolean> => {
  const [, has] = /^runc version (\S+)/.exec(await must([runtime, '--version'])) ?? []
  return has !== undefined && !isVersionAtLeast(has, version)
}
