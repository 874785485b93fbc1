import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { BerthError, badRequest, hasCode, messageOf } from '../../../core/errors.ts'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import type { SourceOperation } from '../../graph/types.ts'
import { withoutPassword } from '../../plan/gitUrl.ts'
import { type GitSetting, git } from './gitCommand.ts'

/** Repositories: which commit a reference means, and its files. */

export type GitOperation = Extract<SourceOperation, { kind: 'git' }>

export interface GitFetch extends Omit<GitSetting, 'secretArgs'> {
  /** A secret's value by its name; undefined where there is none. */
  secret: (name: string) => Promise<string | undefined>
}

/** What a reference means now. */
export interface GitCommit {
  /** 40 or 64 hex digits: of an annotated tag the tag's own. */
  commit: string
  /** As the repository has it, or the commit itself. */
  ref: string
  /** What an annotated tag is of. */
  tagged?: string
}

const commitForm = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/

const checkRef = (ref: string): void => {
  if (ref.startsWith('-')) throw badRequest(`invalid git ref ${JSON.stringify(ref)}`)
}

/** Of github.com a token is good for all repositories, as submodules may want it. */
const scopeOf = (remote: string): string => /^https:\/\/(?:www\.)?github\.com\//.exec(remote)?.[0] ?? remote

/** A secret of the host wins over the plain one. */
const secretArgs = async (
  { remote, authToken, authHeader }: GitOperation,
  { secret }: GitFetch,
): Promise<string[]> => {
  const host = URL.canParse(remote) ? new URL(remote).host : ''
  const names = [`.${host}`, ''].flatMap(end => [
    ...(authHeader === undefined ? [] : [{ name: authHeader + end, isToken: false }]),
    ...(authToken === undefined ? [] : [{ name: authToken + end, isToken: true }]),
  ])
  for (const { name, isToken } of names) {
    const value = await secret(name)
    if (value === undefined) continue
    const header = isToken ? `basic ${Buffer.from(`x-access-token:${value}`).toString('base64')}` : value
    return ['-c', `http.${scopeOf(remote)}.extraheader=Authorization: ${header}`]
  }
  return []
}

const settingOf = async (operation: GitOperation, fetch: GitFetch): Promise<GitSetting> => ({
  ...fetch,
  secretArgs: await secretArgs(operation, fetch),
})

const explained = (what: string, error: unknown): unknown =>
  hasCode(error, 'git-failed')
    ? new BerthError('git-failed', 500, `${what}: ${messageOf(error)}`, { cause: error })
    : error

const run = async (what: string, ...args: Parameters<typeof git>): Promise<string> =>
  await git(...args).catch(error => Promise.reject(explained(what, error)))

const defaultBranch = async (setting: GitSetting, remote: string): Promise<string> => {
  const what = `error fetching default branch for repository ${withoutPassword(remote)}`
  const answer = await run(what, setting, {}, ['ls-remote', '--symref', '--', remote, 'HEAD'])
  const [, ref] = /^ref: (refs\/heads\/\S+)\s+HEAD$/m.exec(answer) ?? []
  if (ref === undefined)
    throw badRequest(`could not find default branch for repository: ${withoutPassword(remote)}`)
  checkRef(ref)
  return ref
}

/** Names win over branches, branches over tags, as git's checkout has it. */
const choose = (lines: ReadonlyMap<string, string>, ref: string): GitCommit | undefined => {
  const names = [
    `refs/${ref.replace(/^refs\//, '')}`,
    `refs/heads/${ref.replace(/^refs\/heads\//, '')}`,
    `refs/tags/${ref.replace(/^refs\/tags\//, '')}`,
  ]
  const name = names.find(one => lines.has(one))
  const commit = name === undefined ? undefined : lines.get(name)
  if (name === undefined || commit === undefined) return undefined
  const tagged = lines.get(`${name}^{}`)
  return { commit, ref: name, ...(tagged === undefined ? {} : { tagged }) }
}

const checkCommit = ({ checksum }: GitOperation, { commit, tagged }: GitCommit): void => {
  const isSame = checksum === undefined || [commit, tagged ?? commit].some(one => one.startsWith(checksum))
  if (isSame) return
  const got = tagged === undefined ? commit : `${commit} or ${tagged}`
  throw new BerthError('digest-mismatch', 400, `expected checksum to match ${checksum}, got ${got}`)
}

/** Asks the repository which commit is meant; of a whole commit nothing is asked. Errors: `git-failed`, `git-missing`, `digest-mismatch`, `bad-request`. */
export const findCommit = async (operation: GitOperation, fetch: GitFetch): Promise<GitCommit> => {
  const { remote } = operation
  checkRef(operation.ref)
  if (commitForm.test(operation.ref)) {
    const commit = { commit: operation.ref, ref: operation.ref }
    checkCommit(operation, commit)
    return commit
  }
  const setting = await settingOf(operation, fetch)
  const ref = operation.ref === '' ? await defaultBranch(setting, remote) : operation.ref
  const what = `failed to fetch remote ${withoutPassword(remote)}`
  const answer = await run(what, setting, {}, ['ls-remote', '--', remote, ref, `${ref}^{}`])
  const lines = answer.split('\n').map(line => line.split('\t'))
  const found = choose(new Map(lines.map(([commit = '', name = '']) => [name, commit])), ref)
  if (!found || !commitForm.test(found.commit))
    throw badRequest(`repository ${withoutPassword(remote)} does not contain ref ${ref}`)
  checkCommit(operation, found)
  return found
}

/** The key of a checkout: what is in it. With its `.git` the reference is, too. */
export const gitKey = (operation: GitOperation, { commit, tagged, ref }: GitCommit): Digest => {
  const { subdirectory, keepGitDirectory, submodules, remote } = operation
  const kept = keepGitDirectory ? [commit, ref, remote] : [tagged ?? commit]
  return digestOf(JSON.stringify(['git', ...kept, subdirectory, keepGitDirectory, submodules]))
}

export interface GitCheckout extends GitFetch {
  /** The folder of a new snapshot, empty. */
  root: string
  /** A folder on the same file system, which is empty again afterwards. */
  work: string
}

/** Fetches one commit into a bare repository. */
const fetchCommit = async (
  operation: GitOperation,
  { commit, ref }: GitCommit,
  { setting, repository }: { setting: GitSetting; repository: string },
): Promise<void> => {
  const { remote } = operation
  const what = `failed to fetch remote ${withoutPassword(remote)}`
  const place = { gitDirectory: repository }
  const format = commit.length === 64 ? ['--object-format=sha256'] : []
  await run(what, setting, {}, ['init', '--quiet', '--bare', ...format, repository])
  const attempts = [
    ['fetch', '--depth=1', '--no-tags', '--force', '--', remote, ref === commit ? commit : `${ref}:${ref}`],
    // Of a commit that is no tip some servers give nothing alone.
    ['fetch', '--tags', '--force', '--', remote, '+refs/heads/*:refs/remotes/origin/*'],
  ]
  let failure: unknown
  for (const args of attempts) {
    failure = await git(setting, place, args).then(
      () => undefined,
      error => error,
    )
    if (failure !== undefined && !hasCode(failure, 'git-failed')) throw failure
    const isThere = await git(setting, place, ['cat-file', '-e', commit]).then(
      () => true,
      () => false,
    )
    if (isThere) return
    setting.signal.throwIfAborted()
  }
  if (failure !== undefined) throw explained(what, failure)
  throw badRequest(
    `fetched ref ${ref} does not match expected commit ${commit} and commit can not be found in the repository`,
  )
}

/** When it was committed, in seconds since the epoch. Errors: as `checkOut`. */
export const commitTime = async (
  operation: GitOperation,
  commit: GitCommit,
  { work, ...fetch }: Omit<GitCheckout, 'root'>,
): Promise<number> => {
  const setting = await settingOf(operation, fetch)
  const repository = path.join(work, 'repository')
  try {
    await fetchCommit(operation, commit, { setting, repository })
    const what = `failed to read the time of ${commit.commit}`
    const place = { gitDirectory: repository }
    // Of a tag that is an object of its own, the commit's.
    const args = ['show', '--no-patch', '--format=%ct', `${commit.commit}^{commit}`]
    return Number(await run(what, setting, place, args))
  } finally {
    await rm(repository, { recursive: true, force: true })
  }
}

/** A repository of its own in the files, with this commit alone. */
const checkOutWithGit = async (
  operation: GitOperation,
  { commit, ref }: GitCommit,
  { setting, repository, root }: { setting: GitSetting; repository: string; root: string },
): Promise<string> => {
  const gitDirectory = path.join(root, '.git')
  const place = { gitDirectory, workTree: root }
  const what = `failed to checkout remote ${withoutPassword(operation.remote)}`
  const isNamed = ref !== commit
  const from = isNamed ? ref : 'refs/berth/commit'
  await git(setting, { gitDirectory: repository }, ['update-ref', '--no-deref', from, commit])
  const format = commit.length === 64 ? ['--object-format=sha256'] : []
  await run(what, setting, place, ['-c', 'init.defaultBranch=master', 'init', '--quiet', ...format])
  // By its address: else files of the host might be linked in.
  const origin = `file://${repository}`
  await run(what, setting, place, ['remote', 'add', 'origin', origin])
  const spec = isNamed ? `${ref}:${ref}` : from
  await run(what, setting, place, ['fetch', '-u', '--depth=1', '--', 'origin', spec])
  await run(what, setting, place, ['checkout', '--quiet', 'FETCH_HEAD'])
  await run(what, setting, place, ['remote', 'set-url', 'origin', withoutPassword(operation.remote)])
  await run(what, setting, place, ['reflog', 'expire', '--all', '--expire=now'])
  rmSync(path.join(gitDirectory, 'FETCH_HEAD'), { force: true })
  return gitDirectory
}

/** Folders only: a link might lead out. */
const checkFolders = (root: string, folder: string): string => {
  let at = root
  for (const name of folder.split('/')) {
    at = path.join(at, name)
    const stat =
      name === '' || name === '..' || name === '.git' ? undefined : lstatSync(at, { throwIfNoEntry: false })
    if (!stat?.isDirectory())
      throw badRequest(
        `invalid subdir ${folder}: ${stat ? `${name} is not a directory` : 'no such directory'}`,
      )
  }
  return at
}

/**
 * The files of a commit, in the folder. Errors: `git-failed` with git's words, `git-missing`, `bad-request`, the
 * signal's reason; what is in the folder then is to be thrown away.
 */
export const checkOut = async (
  operation: GitOperation,
  commit: GitCommit,
  { root, work, ...fetch }: GitCheckout,
): Promise<void> => {
  const setting = await settingOf(operation, fetch)
  const { subdirectory, keepGitDirectory, submodules, remote } = operation
  const repository = path.join(work, 'repository')
  const tree = subdirectory === '' ? root : path.join(work, 'tree')
  try {
    await fetchCommit(operation, commit, { setting, repository })
    if (tree !== root) mkdirSync(tree)
    const place = { gitDirectory: repository, workTree: tree }
    if (keepGitDirectory && tree === root)
      place.gitDirectory = await checkOutWithGit(operation, commit, { setting, repository, root })
    else {
      const what = `failed to checkout remote ${withoutPassword(remote)}`
      await run(what, setting, place, ['checkout', '--no-overlay', commit.commit, '--', '.'])
    }
    if (submodules) {
      const what = `failed to update submodules for ${withoutPassword(remote)}`
      await run(what, setting, place, ['submodule', 'update', '--init', '--recursive', '--depth=1'])
    }
    if (tree === root) return
    const folder = checkFolders(tree, subdirectory)
    for (const name of readdirSync(folder, { encoding: 'buffer' }))
      renameSync(
        Buffer.concat([Buffer.from(`${folder}/`), name]),
        Buffer.concat([Buffer.from(`${root}/`), name]),
      )
  } finally {
    for (const left of [repository, path.join(work, 'tree')]) await rm(left, { recursive: true, force: true })
  }
}
