import path from 'node:path'
import type { Platform } from '../../../oci/platform.ts'
import { quote } from '../../dockerfile/characters.ts'
import { DockerfileError } from '../../dockerfile/errors.ts'
import type { Heredoc, Instruction } from '../../dockerfile/types.ts'
import type { Draft, InputList } from '../../graph/draft.ts'
import type { FileAction } from '../../graph/types.ts'
import { copyAction } from '../context.ts'
import { type GitUrl, gitOperation, parseGitUrl, unescaped } from '../gitUrl.ts'
import { fromRoot } from '../paths.ts'

/** One source of COPY or ADD after another: files, repositories, downloads, texts of the file. */

export type CopyInstruction = Extract<Instruction, { name: 'ADD' | 'COPY' }>

type CopyAction = Extract<FileAction, { kind: 'copy' }>

/** What all sources of an instruction have in common. */
export interface Copying {
  instruction: CopyInstruction
  /** The context, or what `--from` names. */
  content: Draft | undefined
  inputs: InputList
  platform: Platform
  /** Of the instruction's step, which what it fetches is shown as. */
  stepName: string
  common: Pick<CopyAction, 'destination' | 'exclude'> & Partial<Pick<CopyAction, 'owner' | 'mode'>>
}

/** A repository; a folder that is called like one of GitHub's is a folder. */
export const repository = (text: string): GitUrl | undefined => {
  const url = parseGitUrl(text)
  return url?.mayBeLocal ? undefined : url
}

export const isHttp = (text: string): boolean => /^https?:\/\//.test(text) && !parseGitUrl(text)

/** Not of the context. */
export const isRemote = (text: string): boolean => isHttp(text) || repository(text) !== undefined

const agreed = (written: string | undefined, url: GitUrl): string | undefined => {
  const { checksum } = url
  if (written !== undefined && checksum !== undefined && written !== checksum)
    throw new DockerfileError(`checksum mismatch ${quote(written)} != ${quote(checksum)}`)
  return checksum ?? written
}

const gitAction = (copying: Copying, url: GitUrl): FileAction => {
  const { instruction, inputs, platform, stepName, common } = copying
  if (instruction.name === 'COPY') throw new DockerfileError("source can't be a git ref for COPY")
  const { keepGitDir } = instruction
  const { keepGitDirectory = keepGitDir } = url
  if (keepGitDir !== undefined && keepGitDirectory !== keepGitDir)
    throw new DockerfileError('inconsistent keep-git-dir configuration')
  const checksum = agreed(instruction.checksum?.value, url)
  const operation = gitOperation({
    ...url,
    keepGitDirectory: keepGitDirectory ?? false,
    ...(checksum === undefined ? {} : { checksum }),
  })
  const draft: Draft = { operation, inputs: [], platform, step: { name: stepName } }
  return copyAction({
    ...common,
    from: inputs.add(draft),
    source: '/',
    contentsOnly: true,
    createDestination: true,
  })
}

/** What a download is called: the last part of its path. */
export const fileNameOf = (url: string): string => {
  const name = path.posix.basename(URL.canParse(url) ? (unescaped(new URL(url).pathname) ?? '') : '')
  return name === '' || name === '.' ? '__unnamed__' : name
}

const digestForm = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/
const lengths: Record<string, number> = { sha256: 64, sha384: 96, sha512: 128 }

export const checkDigest = (text: string): void => {
  const [algorithm = '', hex = ''] = text.split(/:(.*)/s, 2)
  if (!digestForm.test(text)) throw new DockerfileError('invalid checksum digest format')
  const length = lengths[algorithm]
  if (length === undefined) throw new DockerfileError('unsupported digest algorithm')
  if (hex.length !== length) throw new DockerfileError('invalid checksum digest length')
  if (!/^[a-f0-9]+$/.test(hex)) throw new DockerfileError('invalid checksum digest format')
}

const httpAction = (copying: Copying, url: string): FileAction => {
  const { instruction, inputs, platform, stepName, common } = copying
  if (instruction.name === 'COPY') throw new DockerfileError("source can't be a URL for COPY")
  const checksum = instruction.checksum?.value
  if (checksum !== undefined) checkDigest(checksum)
  const filename = fileNameOf(url)
  const operation = { kind: 'http', url, filename, ...(checksum ? { checksum } : {}) } as const
  const draft: Draft = { operation, inputs: [], platform, step: { name: stepName } }
  return copyAction({
    ...common,
    from: inputs.add(draft),
    source: fromRoot(filename),
    createDestination: true,
    unpack: instruction.unpack ?? false,
  })
}

const hasWildcards = (text: string): boolean => /[*?[]/.test(text.replace(/\\./gs, ''))

/** Where `--parents` begins to make folders again, and what it looks for from there. */
const splitPivot = (source: string): { parent: string; pattern: string } => {
  const pivot = source.indexOf('/./')
  if (pivot < 0) return { parent: '/', pattern: source }
  return { parent: source.slice(0, pivot), pattern: source.slice(pivot + 3) }
}

const parentsOf = (source: string): Pick<CopyAction, 'source' | 'include' | 'allowEmpty'> => {
  const { parent, pattern } = splitPivot(source)
  const include = fromRoot(pattern).replace(/^\//, '')
  // One that names what it wants fails where that is not.
  const allowEmpty = hasWildcards(parent) || hasWildcards(pattern)
  return { source: fromRoot(parent), include: [include], allowEmpty }
}

const pathAction = (copying: Copying, source: string): FileAction => {
  const { instruction, content, inputs, common } = copying
  const keepParents = instruction.name === 'COPY' && instruction.parents
  const isAdd = instruction.name === 'ADD'
  return copyAction({
    ...common,
    from: inputs.add(content),
    followLinks: true,
    contentsOnly: true,
    createDestination: true,
    wildcards: true,
    unpack: isAdd ? (instruction.unpack ?? true) : false,
    keepParents,
    ...(keepParents ? parentsOf(source) : { source: fromRoot(source), allowEmpty: true }),
  })
}

const textAction = (copying: Copying, { name, content }: Heredoc): FileAction => {
  const { inputs, platform, common } = copying
  const draft: Draft = {
    operation: {
      kind: 'file',
      base: undefined,
      actions: [{ kind: 'makeFile', path: fromRoot(name), content, mode: 0o644 }],
    },
    inputs: [],
    platform,
    step: { name: '[internal] preparing inline document' },
  }
  return copyAction({ ...common, from: inputs.add(draft), source: fromRoot(name), createDestination: true })
}

const oneAction = (copying: Copying, source: string): FileAction => {
  const url = repository(source)
  if (url) return gitAction(copying, url)
  return isHttp(source) ? httpAction(copying, source) : pathAction(copying, source)
}

/** Paths in their order, then texts, as BuildKit has them. */
export const copyActions = (copying: Copying): FileAction[] => {
  const { sources } = copying.instruction
  const paths = sources.flatMap(source => (source.kind === 'path' ? [source.path.value] : []))
  const texts = sources.flatMap(source => (source.kind === 'heredoc' ? [source.heredoc] : []))
  return [...paths.map(source => oneAction(copying, source)), ...texts.map(text => textAction(copying, text))]
}
