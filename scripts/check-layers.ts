/** Imports run downwards only (docs/architecture.md, "The house"): a folder of src/ may import itself and what is listed. */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'

const below: Record<string, string[]> = {
  core: [],
  oci: ['core'],
  wire: ['core', 'oci'],
  linux: ['core'],
  archive: ['core', 'oci', 'linux'],
  store: ['core', 'oci', 'linux', 'archive'],
  runtime: ['core', 'oci', 'linux'],
  net: ['core', 'linux'],
  'registry-client': ['core', 'oci'],
  plugins: ['core'],
  build: ['core', 'oci', 'wire', 'linux', 'archive', 'store', 'runtime', 'net', 'registry-client', 'engine'],
  engine: [
    'core',
    'oci',
    'wire',
    'linux',
    'archive',
    'store',
    'runtime',
    'net',
    'registry-client',
    'plugins',
  ],
  api: ['core', 'oci', 'wire', 'archive', 'registry-client', 'plugins', 'engine', 'build', 'linux'],
  daemon: [
    'core',
    'oci',
    'wire',
    'linux',
    'archive',
    'store',
    'runtime',
    'net',
    'registry-client',
    'plugins',
    'engine',
    'build',
    'api',
  ],
}

/** Folders that decide and never do: no file, process, socket or thread. */
const pure = ['oci', 'wire', 'build/dockerfile', 'build/graph', 'build/plan', 'build/solver']
const isPure = (file: string): boolean => pure.some(folder => file.startsWith(`src/${folder}/`))
const touching = /^node:(fs|net|http|https|http2|child_process|worker_threads|dgram|tls|cluster)/

const specifiers = (text: string): string[] =>
  [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^'"\n;]*?(?:\n[^'"]*?)?from\s+'([^']+)'|import\('([^']+)'\)|(?:^|\n)import '([^']+)'/g,
    ),
  ].map(match => match[1] ?? match[2] ?? match[3] ?? '')

const development = new Set(
  Object.keys(
    (JSON.parse(readFileSync('package.json', 'utf8')) as { devDependencies: object }).devDependencies,
  ),
)

const problems: string[] = []
for (const file of globSync('src/**/*.ts')) {
  const layer = file.split('/')[1] ?? ''
  const isTest = file.endsWith('.test.ts') || file.includes('/testing/')
  const allowed = below[layer]
  if (!allowed) problems.push(`${file}: src/${layer} is not a layer; add it to scripts/check-layers.ts`)
  for (const specifier of specifiers(readFileSync(file, 'utf8'))) {
    if (isPure(file) && !isTest && touching.test(specifier))
      problems.push(`${file}: it is pure and may not import ${specifier}`)
    const packageName = specifier.startsWith('@')
      ? specifier.split('/').slice(0, 2).join('/')
      : (specifier.split('/')[0] ?? '')
    if (!specifier.startsWith('.') && !isTest && development.has(packageName))
      problems.push(`${file}: ${packageName} is a development dependency`)
    if (!specifier.startsWith('.')) continue
    const target = path.relative('src', path.join(path.dirname(file), specifier)).split('/')[0] ?? ''
    if (target !== layer && !isTest && !allowed?.includes(target))
      problems.push(`${file}: ${layer} may not import ${specifier}`)
  }
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
