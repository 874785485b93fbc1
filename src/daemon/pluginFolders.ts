import path from 'node:path'
import { defaultFolders } from '../plugins/plugins.ts'
import type { PluginFolders } from '../plugins/types.ts'

/** A test's daemon must find no plugins of the host. */
export const pluginFolders = (): PluginFolders => {
  const folder = process.env['BERTH_TEST_PLUGINS']
  if (!folder) return defaultFolders
  return { sockets: path.join(folder, 'run'), specs: [path.join(folder, 'etc'), path.join(folder, 'lib')] }
}
