/** What registries say in headers of their answers. Undefined is what cannot be read. */

/** `Content-Range: bytes 100-199/1000`; the total is undefined where it is `*`. */
export const parseContentRange = (
  text: string | undefined,
): { first: number; last: number; total: number | undefined } | undefined => {
  const match = /^\s*bytes\s+(\d{1,15})-(\d{1,15})\/(?:(\d{1,15})|\*)\s*$/i.exec(text ?? '')
  if (!match) return undefined
  const [first, last] = [Number(match[1]), Number(match[2])]
  const total = match[3] === undefined ? undefined : Number(match[3])
  if (last < first || (total !== undefined && last >= total)) return undefined
  return { first, last, total }
}

/**
 * Bytes that a registry has of an upload, by `Range: 0-1023` (some say `bytes=0-1023`). An empty upload says `0-0`,
 * as one of a single byte does; it is taken for empty.
 */
export const parseUploadRange = (text: string | undefined): number | undefined => {
  const match = /^\s*(?:bytes[= ])?0-(\d{1,15})\s*$/i.exec(text ?? '')
  if (!match) return undefined
  return match[1] === '0' ? 0 : Number(match[1]) + 1
}

/** Milliseconds from now of `Retry-After`: seconds, or a date. */
export const parseRetryAfter = (text: string | undefined, now: number): number | undefined => {
  if (text === undefined) return undefined
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text) * 1000
  const date = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(date - now, 0)
}

/** The target of `Link: </v2/x/tags/list?last=b>; rel="next"`. */
export const nextLink = (header: string | string[] | undefined): string | undefined => {
  const links = [header ?? []].flat().join(',')
  for (const [, target, parameters] of links.matchAll(
    /<([^>]*)>((?:\s*;\s*[^,;"=\s]+(?:="[^"]*"|=[^,;"\s]*)?)*)/g,
  ))
    if (/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=\s|;|$))/i.test(parameters ?? ''))
      return target
  return undefined
}

/** The media type without its parameters, in lower case. */
export const mediaTypeOf = (text: string | undefined): string =>
  (text ?? '').split(';')[0]?.trim().toLowerCase() ?? ''

/** One text of a header that may have come several times. */
export const single = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value
