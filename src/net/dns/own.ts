import { ipText } from '../../linux/ipBytes.ts'
import { addressAnswer, emptyAnswer, nameAnswer } from './compose.ts'
import { type Answer, type Question, rcode, recordType } from './message.ts'
import type { ContainerNames } from './types.ts'

const classIn = 1
const classAny = 255

const addressOf = (name: string): string | undefined => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name)
  if (match) return match.slice(1).reverse().map(Number).join('.')
  const nibbles = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1]
  return nibbles && ipText(Buffer.from(nibbles.replaceAll('.', '').split('').reverse().join(''), 'hex'))
}

const reverse = (names: ContainerNames, name: string): Answer | undefined => {
  const address = addressOf(name)
  const host = address === undefined ? undefined : names.nameOf(address)
  return host === undefined ? undefined : nameAnswer(host)
}

/**
 * What a container's own names answer; undefined where the question goes
 * upstream. As Docker's: addresses, and no MX for a name that is ours.
 * Other types are asked upstream only of names with a dot: an alias may carry a
 * public name, but nobody outside knows `web`, and would deny it.
 */
export const answerOwn = (names: ContainerNames, question: Question): Answer | undefined => {
  const { name, type } = question
  if (name === undefined || (question.class !== classIn && question.class !== classAny)) return undefined
  if (type === recordType.ptr) {
    const known = reverse(names, name)
    if (known) return known
  }
  const addresses = names.addresses(name)
  if (!addresses) return undefined
  const ipv6 = type === recordType.aaaa
  const found = addresses.filter(address => address.includes(':') === ipv6)
  if (type === recordType.a || (ipv6 && found.length > 0)) return addressAnswer(found)
  const never = ipv6 || type === recordType.mx || !name.includes('.')
  return never ? emptyAnswer(rcode.noError) : undefined
}
