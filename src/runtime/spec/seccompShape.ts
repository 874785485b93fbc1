import { badRequest } from '../../core/errors.ts'

/** What kinds of values a seccomp profile's members have; a profile comes from a user, and its members are used as they are. */
type Shape = (value: unknown) => boolean

const text: Shape = value => typeof value === 'string'
const whole: Shape = value => Number.isSafeInteger(value)
// An argument's value may have 64 bits.
const number: Shape = value => typeof value === 'number' && Number.isFinite(value) && value >= 0

const listOf =
  (item: Shape): Shape =>
  value =>
    Array.isArray(value) && value.every(item)

/** Members may be left out or null; others are not looked at. */
const objectOf =
  (members: Record<string, Shape>): Shape =>
  value =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(members).every(([name, shape]) => {
      const member = (value as Record<string, unknown>)[name]
      return member === undefined || member === null || shape(member)
    })

const texts = listOf(text)
const condition = objectOf({ caps: texts, arches: texts, minKernel: text })

const members: Record<string, Shape> = {
  defaultErrnoRet: whole,
  architectures: texts,
  archMap: listOf(objectOf({ architecture: text, subArchitectures: texts })),
  flags: texts,
  listenerPath: text,
  listenerMetadata: text,
  syscalls: listOf(
    objectOf({
      ...{
        name: text,
        names: texts,
        action: text,
        errnoRet: whole,
        includes: condition,
        excludes: condition,
      },
      args: listOf(objectOf({ index: whole, value: number, valueTwo: number, op: text })),
    }),
  ),
}

/** Errors: `bad-request` that names the member. */
export const checkSeccompShape = (profile: object): void => {
  for (const name of Object.keys(members))
    if (!objectOf({ [name]: members[name] as Shape })(profile))
      throw badRequest(`Decoding seccomp profile failed: ${name} is not what a profile has there`)
}
