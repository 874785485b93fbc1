import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { IdMaps } from '../linux/idMaps.ts'
import { mapOfUser, newRange, readSubordinateIds, type SubordinateRange } from './subordinateIds.ts'

/** `--userns-remap`: whose subordinate ids containers' users are. The words of errors are dockerd's. */

const defaultWord = 'default'
const defaultUser = 'dockremap'
/** Tests bring users of their own. */
const etc = process.env['BERTH_TEST_ETC'] ?? '/etc'
const uidFile = path.join(etc, 'subuid')
const gidFile = path.join(etc, 'subgid')

interface Entry {
  name: string
  id: number
}

type Table = 'passwd' | 'group'

const entryOf = (line: string): Entry => {
  const [name = '', , id] = line.split(':')
  return { name, id: Number(id) }
}

/** Users that a directory service has; the file alone where there is no getent. */
const ask = (table: Table, key: string): Entry => {
  try {
    const out = execFileSync('getent', [table, key], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return entryOf(out.split('\n')[0] ?? '')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw new Error('unable to find getent command', { cause: error })
    throw new Error(`getent unable to find entry "${key}" in ${table} database`, { cause: error })
  }
}

const lookUp = (table: Table, fits: (entry: Entry) => boolean, key: string): Entry => {
  const found = readFileSync(path.join(etc, table), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(entryOf)
    .find(fits)
  return found ?? ask(table, key)
}

const byName = (table: Table, name: string): Entry => lookUp(table, entry => entry.name === name, name)

const byId = (table: Table, id: number): Entry => lookUp(table, entry => entry.id === id, String(id))

/** As `use`, with what it throws told in these words. */
const saying = <T>(words: string, use: () => T): T => {
  try {
    return use()
  } catch (error) {
    throw badRequest(`${words}: ${messageOf(error)}`, error)
  }
}

/** Runs a program of the machine's. Errors: with what it said. */
const command = (file: string, args: readonly string[]): void => {
  try {
    execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw error
    const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string }
    throw new Error(`${file} ${args.join(' ')}: ${`${stdout}${stderr}`.trim() || messageOf(error)}`, {
      cause: error,
    })
  }
}

const addCommands: readonly (readonly [file: string, ...args: string[]])[] = [
  [
    'adduser',
    ...['--system', '--shell', '/bin/false', '--no-create-home', '--disabled-login', '--disabled-password'],
    '--group',
  ],
  ['useradd', '-r', '-U', '-s', '/bin/false'],
]

const addUser = (name: string): void => {
  for (const [file, ...args] of addCommands)
    try {
      command(file, [...args, name])
      return
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  throw new Error('cannot add user; no useradd/adduser binary found')
}

const rangesIn = (file: string): SubordinateRange[] => {
  try {
    return readSubordinateIds(file)
  } catch {
    return []
  }
}

/** Gives a user ranges where it has none: the tools of some machines do so by themselves. */
const ensureRanges = (name: string): void => {
  for (const [file, flag] of [
    [uidFile, '-v'],
    [gidFile, '-w'],
  ] as const) {
    const ranges = rangesIn(file)
    if (ranges.some(({ user }) => user === name)) continue
    try {
      command('usermod', [flag, newRange(ranges), name])
    } catch (error) {
      const why = hasCode(error, 'ENOENT') ? 'no usermod binary found' : messageOf(error)
      throw new Error(
        `couldn't create subordinate ID ranges: ${why}; add a line ${name}:${newRange(ranges).split('-')[0]}:65536 to ${file}`,
        { cause: error },
      )
    }
  }
}

const makeDefaultUser = (): Entry => {
  addUser(defaultUser)
  ensureRanges(defaultUser)
  return byName('passwd', defaultUser)
}

const userByName = (given: string): Entry => {
  const name = given === defaultWord ? defaultUser : given
  try {
    return byName('passwd', name)
  } catch (error) {
    if (given !== defaultWord)
      throw badRequest(`Error during uid lookup for "${name}": ${messageOf(error)}`, error)
    return saying(`Error during "${name}" user creation`, makeDefaultUser)
  }
}

/** Without a group it is the one that is called, or numbered, as the user. */
const checkGroup = (user: string, group: string | undefined, { name, id }: Entry): void => {
  if (group !== undefined && /^\d+$/.test(group))
    saying(`Gid ${group} has no entry in /etc/passwd`, () => byId('group', Number(group)))
  else if (group !== undefined)
    saying(`Error during groupname lookup for "${group}"`, () => byName('group', group))
  else if (/^\d+$/.test(user)) saying(`Gid ${id} has no entry in /etc/group`, () => byId('group', id))
  else saying(`Error during gid lookup for "${name}"`, () => byName('group', name))
}

/** The user whose subordinate ids are meant, and its group is there. Errors: `bad-request` in dockerd's words. */
const remappedUser = (given: string): Entry => {
  const [user = '', group, ...more] = given.split(':')
  if (more.length > 0) throw badRequest(`Invalid user/group specification in --userns-remap: "${given}"`)
  const entry = /^\d+$/.test(user)
    ? saying(`Uid ${user} has no entry in /etc/passwd`, () => byId('passwd', Number(user)))
    : userByName(user)
  checkGroup(user, group, entry)
  return entry
}

/** The maps of containers' user namespaces; undefined where they get none. Both are of the user, as dockerd has it. */
export const idMapsOf = (given: string, log: Log): IdMaps | undefined => {
  if (given === '') return undefined
  const { name, id } = remappedUser(given)
  if (name === 'root') {
    log.warn('User namespaces: root cannot be remapped with itself; user namespaces are OFF')
    return undefined
  }
  log.info(`User namespaces: ID ranges will be mapped to subuid/subgid ranges of: ${name}`)
  return saying('error creating ID mappings', () => ({
    uids: mapOfUser(readSubordinateIds(uidFile), { name, uid: id }),
    gids: mapOfUser(readSubordinateIds(gidFile), { name, uid: id }),
  }))
}
