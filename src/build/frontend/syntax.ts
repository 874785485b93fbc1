import { notImplemented } from '../../core/errors.ts'
import { familiarName, parseReference } from '../../oci/reference.ts'

/** Repositories of the frontend that is built in, under all of its names. */
const builtIn = ['docker/dockerfile', 'docker/dockerfile-upstream']

/**
 * What a build says where `# syntax=` names a frontend of Docker's, of whatever version: the built-in one is used.
 * Errors: `not-implemented` for another one.
 */
export const syntaxNotice = (syntax: string): string => {
  const isOurs = ((): boolean => {
    try {
      return builtIn.includes(familiarName(parseReference(syntax)))
    } catch {
      return false
    }
  })()
  if (!isOurs)
    throw notImplemented(
      `the frontend ${syntax} (# syntax=): Berth reads Dockerfiles by itself, as docker/dockerfile:1 does, and runs no other frontends; remove the line, or name docker/dockerfile:1`,
    )
  return `${syntax}: the built-in Dockerfile frontend is used`
}
