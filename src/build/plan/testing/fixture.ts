import { notFound } from '../../../core/errors.ts'
import type { ImageConfig } from '../../../oci/image.ts'
import type { Platform } from '../../../oci/platform.ts'
import { parseDockerfile } from '../../dockerfile/parse.ts'
import { planBuild } from '../planBuild.ts'
import type { BuildRequest, Outside, Plan } from '../types.ts'

export const amd64: Platform = { os: 'linux', architecture: 'amd64' }
export const arm64: Platform = { os: 'linux', architecture: 'arm64' }

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** An image with a layer and this configuration. */
export const image = (config: ImageConfig['config'] = {}, platform = amd64): ImageConfig => ({
  ...platform,
  created: '2020-01-01T00:00:00Z',
  rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] },
  config: { Env: [`PATH=${defaultPath}`], ...config },
})

export const digest = `sha256:${'a'.repeat(64)}` as const

export interface World {
  /** By their full names; each has a layer. */
  images?: Record<string, ImageConfig>
  /** `.dockerignore` of folders of named contexts. */
  ignoreFiles?: Record<string, string>
  dates?: Record<string, number>
  /** What was asked for. */
  asked?: string[]
}

const common = { 'docker.io/library/alpine:latest': image(), 'docker.io/library/busybox:latest': image() }

export const outsideOf = ({
  images = {},
  ignoreFiles = {},
  dates = {},
  asked = [],
}: World = {}): Outside => ({
  image: async ({ reference, platform, step }) => {
    asked.push(`${step} (${platform.architecture})`)
    const config = { ...common, ...images }[reference]
    if (!config) throw notFound(`${reference}: not found`)
    return { config, digest }
  },
  layout: async ({ store, reference, step }) => {
    asked.push(`${step} of ${store}`)
    const config = images[reference]
    if (!config) throw notFound(`${reference}: not found`)
    return { config, digest }
  },
  ignoreFile: async ({ name, step }) => {
    asked.push(step)
    return ignoreFiles[name] ?? ''
  },
  sourceDate: async operation => {
    const address =
      operation.kind === 'git' ? operation.remote : operation.kind === 'http' ? operation.url : ''
    asked.push(`date of ${operation.kind} ${address}`)
    return dates[operation.kind]
  },
})

export type Options = Partial<Omit<BuildRequest, 'dockerfile'>>

export const requestOf = (text: string, options: Options = {}): BuildRequest => ({
  dockerfile: parseDockerfile(text),
  fileName: 'Dockerfile',
  arguments: {},
  labels: {},
  buildPlatform: amd64,
  context: { kind: 'local', name: 'context', sharedKey: 'context', exclude: [] },
  namedContexts: {},
  session: 'session',
  resolve: 'default',
  network: 'default',
  extraHosts: [],
  ulimits: [],
  devices: [],
  ...options,
})

export const plan = (text: string, options: Options = {}, world: World = {}): Promise<Plan> =>
  planBuild(requestOf(text, options), outsideOf(world))
