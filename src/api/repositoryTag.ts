import { badRequest } from '../core/errors.ts'
import { isDigest } from '../oci/digest.ts'
import { parseReference, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { Query } from './route.ts'

/** The image name of the parameters `repo` and `tag`; undefined where no repository is given. Errors: `bad-request`. */
export const repositoryTag = (query: Query): Reference | undefined => {
  const repository = query.get('repo') ?? ''
  const tag = query.get('tag') ?? ''
  if (repository === '') return undefined
  const name = parseReference(repository)
  if (name.digest || isDigest(tag)) throw badRequest('cannot import digest reference')
  if (tag === '') return withDefaultTag(name)
  const { tag: given } = parseReference(`${name.domain}/${name.path}:${tag}`)
  return { ...name, ...(given === undefined ? {} : { tag: given }) }
}
