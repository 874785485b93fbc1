import { openSync, writeFileSync } from 'node:fs'
import { type IdMaps, mapText } from './idMaps.ts'
import { type NamespaceHelper, withNamespaceHelper } from './namespaceHelper.ts'

/** User namespaces, by a helper that enters them: `berth-monitor userns`. */

const giveMaps = (pid: number, { uids, gids }: IdMaps): void => {
  writeFileSync(`/proc/${pid}/uid_map`, mapText(uids))
  writeFileSync(`/proc/${pid}/gid_map`, mapText(gids))
}

/** One that only its maps are needed of. The caller owns the descriptor. */
export const openUserNamespace = (
  helper: NamespaceHelper,
  maps: IdMaps,
  signal?: AbortSignal,
): Promise<number> =>
  withNamespaceHelper(
    helper,
    pid => {
      giveMaps(pid, maps)
      return openSync(`/proc/${pid}/ns/user`, 'r')
    },
    signal,
  )

/** Runs `use` while there is a process in a new network namespace with a new user namespace that owns it. */
export const withNewNamespaces = (
  helper: NamespaceHelper,
  maps: IdMaps,
  use: (pid: number) => void,
): Promise<void> =>
  withNamespaceHelper([...helper, 'net'], pid => {
    giveMaps(pid, maps)
    use(pid)
  })

/** Runs `use` while there is a process in a new network namespace that the user namespace at a path owns. */
export const withNamespaceOf = (
  helper: NamespaceHelper,
  owner: string,
  use: (pid: number) => void,
): Promise<void> => withNamespaceHelper([...helper, 'net', owner], use)
