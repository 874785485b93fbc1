import { badRequest } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import { type ImportRequest, importImage } from './import.ts'
import { progressBar } from './pullProgress.ts'
import type { ImageRecord } from './types.ts'

export interface UrlImport extends Omit<ImportRequest, 'source'> {
  url: URL
  report: (line: object) => void
}

/** Lines come at most that often. */
const pauseMs = 100

/** An address as users write it: one without a scheme is one of http. Errors: `bad-request`. */
export const importUrlOf = (text: string): URL => {
  const whole = text.includes('://') ? text : `http://${text}`
  if (!URL.canParse(whole)) throw badRequest(`parse ${JSON.stringify(whole)}: invalid URL`)
  return new URL(whole)
}

/** Without the password, which a line would show to everybody. */
export const shownAddress = (url: URL): string => {
  const shown = new URL(url)
  if (shown.password !== '') shown.password = 'xxxxx'
  return shown.href
}

async function* told(
  bytes: AsyncIterable<Uint8Array>,
  size: number | undefined,
  report: UrlImport['report'],
): AsyncGenerator<Uint8Array> {
  let current = 0
  let last = Number.NEGATIVE_INFINITY
  for await (const chunk of bytes) {
    yield chunk
    current += chunk.length
    const now = performance.now()
    if (now - last < pauseMs && current !== size) continue
    last = now
    report({
      status: 'Importing',
      progressDetail: { current, ...(size === undefined ? {} : { total: size }) },
      progress: progressBar(current, size ?? 0),
    })
  }
}

/** `POST /images/create?fromSrc=http://…`. Errors before the first line: as the server answers, in words. */
export const importFromUrl = async (
  engine: Engine,
  { url, report, ...request }: UrlImport,
): Promise<ImageRecord> => {
  const { operation } = request
  operation.at(`asking ${url.host}`)
  const { bytes, size } = await engine.registries.download(url, operation.signal)
  report({ status: `Downloading from ${shownAddress(url)}` })
  const image = await importImage(engine, { ...request, source: told(bytes, size, report) })
  report({ status: image.id })
  return image
}
