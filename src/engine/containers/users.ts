import { badRequest } from '../../core/errors.ts'

/** Users and groups of a container, told by the files of its own root (passwd(5), group(5)). */

export interface ProcessUser {
  uid: number
  gid: number
  additionalGids: number[]
  /** `/root`; `/` where the user has none. */
  home: string
}

interface PasswdEntry {
  name: string
  uid: number
  gid: number
  home: string
}

interface GroupEntry {
  name: string
  gid: number
  members: string[]
}

const maxId = 2 ** 31 - 1

const fieldsOf = (text: string, least: number): string[][] =>
  text
    .split('\n')
    .map(line => line.trim().split(':'))
    .filter(fields => fields.length >= least && !fields[0]?.startsWith('#'))

const parsePasswd = (text: string): PasswdEntry[] =>
  fieldsOf(text, 4).map(([name = '', , uid, gid, , home = '']) => ({
    name,
    uid: Number(uid),
    gid: Number(gid),
    home,
  }))

const parseGroup = (text: string): GroupEntry[] =>
  fieldsOf(text, 3).map(([name = '', , gid, members = '']) => ({
    name,
    gid: Number(gid),
    members: members.split(',').filter(Boolean),
  }))

const isNumber = (text: string): boolean => /^\d+$/.test(text)

const checkId = (id: number): number => {
  if (id > maxId) throw badRequest(`uids and gids must be in range 0-${maxId}`)
  return id
}

const findUser = (wanted: string, users: PasswdEntry[]): { uid: number; entry?: PasswdEntry } => {
  const named = users.find(user => user.name === wanted)
  if (named) return { uid: named.uid, entry: named }
  if (!isNumber(wanted)) throw badRequest(`unable to find user ${wanted}: no matching entries in passwd file`)
  const uid = checkId(Number(wanted))
  const entry = users.find(user => user.uid === uid)
  return entry ? { uid, entry } : { uid }
}

const findGroup = (wanted: string, groups: GroupEntry[]): number => {
  const named = groups.find(group => group.name === wanted)
  if (named) return named.gid
  if (!isNumber(wanted)) throw badRequest(`unable to find group ${wanted}: no matching entries in group file`)
  return checkId(Number(wanted))
}

/**
 * Resolves `user[:group]` and the names of `--group-add`. `passwd` and `group`
 * are the texts of the container's own files, empty where it has none.
 */
export const resolveUser = (request: {
  user: string
  groupAdd: readonly string[]
  passwd: string
  group: string
}): ProcessUser => {
  const users = parsePasswd(request.passwd)
  const groups = parseGroup(request.group)
  const [userPart = '', groupPart = ''] = request.user.split(':')
  const { uid, entry } = findUser(userPart || '0', users)
  const gid = groupPart ? findGroup(groupPart, groups) : (entry?.gid ?? 0)
  const own =
    groupPart || !entry
      ? []
      : groups.filter(group => group.members.includes(entry.name)).map(group => group.gid)
  const added = request.groupAdd.map(name => findGroup(name, groups))
  return { uid, gid, additionalGids: [...new Set([gid, ...own, ...added])], home: entry?.home || '/' }
}
