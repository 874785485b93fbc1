import { BerthError } from '../../core/errors.ts'
import { listTargets } from '../plan/outline.ts'
import { checkBuild, planBuild } from '../plan/planBuild.ts'
import type { FrontendAttributes } from './attributes.ts'
import { FrontendError, type FrontendHost, openDockerfile, within } from './frontend.ts'
import { type Answer, lintAnswer, outlineAnswer, targetsAnswer } from './subrequestForms.ts'
import { textTable } from './textTable.ts'

/** What clients ask of a Dockerfile instead of building it: `--call`, `--print`. No step is run for any of it. */

/** In BuildKit's words, by which clients know it. */
export class UnsupportedSubrequestError extends BerthError {
  readonly subrequest: string

  constructor(subrequest: string) {
    super('unsupported-subrequest', 501, `unsupported request ${subrequest}`)
    this.subrequest = subrequest
  }
}

type Asking = (attributes: FrontendAttributes, host: FrontendHost) => Promise<Answer>

const outline: Asking = async (attributes, host) => {
  const { source, request } = await openDockerfile(attributes, host)
  const plan = await within(source, () => planBuild(request(attributes.platforms[0]), host.outside))
  return outlineAnswer(plan.outline, source)
}

const targets: Asking = async (attributes, host) => {
  const { source, dockerfile } = await openDockerfile(attributes, host)
  return targetsAnswer(listTargets(dockerfile), source)
}

/** Of a build that ends, or whose client is gone, nothing is answered. */
const isFinding = (error: unknown): error is BerthError => error instanceof BerthError && error.status !== 499

const lint: Asking = async (attributes, host) => {
  let source = { fileName: attributes.fileName, text: '' }
  try {
    const opened = await openDockerfile(attributes, host)
    source = opened.source
    return lintAnswer({
      source,
      ...(await checkBuild(opened.request(attributes.platforms[0]), host.outside)),
    })
  } catch (error) {
    if (error instanceof FrontendError) return lintAnswer({ warnings: [], error, source: error.source })
    if (source.text === '' || !isFinding(error)) throw error
    return lintAnswer({ warnings: [], error: { message: error.message, ranges: [] }, source })
  }
}

interface Subrequest {
  description: string
  options?: { name: string; description: string }[]
  metadata?: string[]
  ask: Asking
}

const subrequests: Record<string, Subrequest> = {
  'frontend.outline': {
    description: 'List all parameters current build target supports',
    options: [{ name: 'target', description: 'Target build stage' }],
    ask: outline,
  },
  'frontend.targets': { description: 'List all targets current build supports', ask: targets },
  'frontend.lint': {
    description: 'Lint a Dockerfile',
    metadata: ['result.statuscode'],
    ask: lint,
  },
  'frontend.subrequests.describe': {
    description: 'List available subrequest types',
    ask: async () => describeAnswer(),
  },
}

/** Of all that are answered. */
const version = '1.0.0'

const describeAnswer = (): Answer => {
  const all = Object.entries(subrequests)
  return {
    json: all.map(([name, { description, options, metadata = [] }]) => ({
      ...{ name, version, type: 'rpc', description },
      opts: options ?? null,
      inputs: null,
      metadata: ['result.json', 'result.txt', ...metadata].map(key => ({ name: key, description: '' })),
      refs: null,
    })),
    text: textTable(
      [
        ['NAME', 'VERSION', 'DESCRIPTION'],
        ...all.map(([name, { description }]) => [name.replace(/^frontend\./, ''), version, description]),
      ],
      1,
    ),
  }
}

/** The metadata of a result. Errors: `UnsupportedSubrequestError`, `FrontendError`, those of the host. */
export const answerSubrequest = async (
  name: string,
  attributes: FrontendAttributes,
  host: FrontendHost,
): Promise<Record<string, string>> => {
  const subrequest = Object.hasOwn(subrequests, name) ? subrequests[name] : undefined
  if (!subrequest) throw new UnsupportedSubrequestError(name)
  const { json, text, status } = await subrequest.ask(attributes, host)
  return {
    'result.json': JSON.stringify(json, undefined, 2),
    'result.txt': text,
    ...(status === undefined ? {} : { 'result.statuscode': String(status) }),
    version,
  }
}
