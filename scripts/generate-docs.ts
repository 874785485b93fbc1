/**
 * Writes docs/api.md from the routes and docs/daemon-options.md from the option
 * table, so that neither can lie. `--check` fails where a file is not what it
 * would write.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { type Explained, explained } from '../parity/explained.ts'
import { explainedBuilds } from '../parity/explainedBuilds.ts'
import type { Route } from '../src/api/route.ts'
import { allRoutes } from '../src/api/routes.ts'
import { apiVersion, minApiVersion } from '../src/api/server.ts'
import type { UnbuiltRoute } from '../src/api/unbuiltRoutes.ts'
import { optionTable } from '../src/daemon/options.ts'
import { optionTexts } from '../src/daemon/optionTexts.ts'
import { reloadable } from '../src/daemon/reload.ts'

const operationsOfDocker = 108

const stateOf = (route: Route): string => {
  const unbuilt = 'state' in route ? (route as UnbuiltRoute).state : undefined
  if (unbuilt === 'absent') return 'not built: 501'
  if (unbuilt === 'empty') return 'true empty answer: there are none yet'
  if (unbuilt === 'inactive') return '503, as Docker without a swarm'
  return route.lacks ? `works, but ${route.lacks}` : 'works'
}

const section = (path: string): string => path.split('/')[1] ?? ''

const apiDocs = (): string => {
  const routes = allRoutes({ id: '' })
  const docker = routes.filter(route => !route.own && !route.undescribed)
  if (
    docker.length !== operationsOfDocker ||
    new Set(docker.map(route => route.operation)).size !== operationsOfDocker
  )
    throw new Error(`the routes have ${docker.length} operations of Docker's ${operationsOfDocker}`)
  const built = docker.filter(route => !('state' in route)).length
  const lines = [
    '# The Engine API',
    '',
    `Versions ${minApiVersion} to ${apiVersion} are served, chosen by URL prefix (\`/v1.45/…\`); below 1.40 with the shapes of 1.40.`,
    `Of Docker's ${operationsOfDocker} operations ${built} are built. This file is made from the routes by \`npm run docs\`.`,
    '',
  ]
  for (const name of [...new Set(docker.map(route => section(route.path)))].sort()) {
    lines.push(`## /${name}`, '', '| operation | | here |', '|---|---|---|')
    for (const route of docker.filter(entry => section(entry.path) === name))
      lines.push(`| ${route.operation} | \`${route.method} ${route.path}\` | ${stateOf(route)} |`)
    lines.push('')
  }
  lines.push(
    '## What Docker’s description leaves out',
    '',
    'With `--experimental`, as in Docker: [checkpoints](checkpoints.md).',
    '',
    ...routes
      .filter(route => route.undescribed)
      .map(route => `- \`${route.method} ${route.path}\` (${route.operation})`),
    '',
    '## Beyond Docker',
    '',
    'Operations of Berth’s own:',
    '',
    ...routes
      .filter(route => route.own)
      .map(route => `- \`${route.method} ${route.path}\` (${route.operation})`),
    '',
    '[Operations in flight](operations.md) and [why a container stopped](why.md) have how they are used.',
    '',
    "Extra fields of Docker's objects stand under one key `Berth`:",
    '',
    '- `GET /system/df`: `Berth` has the bytes on disk by owner, as `du` counts them, and under `Logs` [what all logs take, their budget, and what it has taken](logs.md).',
    '',
    'Events carry causes as attributes:',
    '',
    '- a container’s `log_drop`: output was dropped; `berth.cause` is a word of [logs.md](logs.md), `berth.bytes` or `berth.files` says how much.',
    '- `berth.cause` of a container’s `die`, `stop`, `kill`, `restart` and `start`: a word of [why.md](why.md); `berth.cause.by` says who asked for it, `berth.cause.detail` more in words.',
    '',
  )
  return lines.join('\n')
}

const words = {
  works: 'works',
  own: 'Berth’s own',
  ignored: 'not ours',
  later: 'not yet',
  refused: 'refused',
} as const

const optionDocs = (): string => {
  const lines = [
    '# Options of berthd',
    '',
    'Flags are dockerd’s; keys are those of its `daemon.json`, read from `/etc/berth/daemon.json` or the file named by `--config-file`. This file is made from the option table by `npm run docs`.',
    '',
    '- **works**: as dockerd’s, but for what is said beside it.',
    '- **Berth’s own**: dockerd has no such option.',
    '- **not ours**: accepted with a warning; Berth does not have the part that it configures.',
    '- **not yet**: accepted with a warning; not built, and ignoring it harms nothing.',
    '- **refused**: not built, and ignoring it would weaken security or lose data.',
    '',
    'SIGHUP reads again what the third column marks with ↻; the rest counts at the next start.',
    '',
    '| flag | key | | |',
    '|---|---|---|---|',
  ]
  for (const spec of optionTable) {
    const flag = spec.flag ? `\`--${spec.flag}\`${spec.short ? `, \`-${spec.short}\`` : ''}` : ''
    const name = spec.flag || spec.key
    const again = reloadable.has(name) ? ' ↻' : ''
    const where = spec.pointless ? ' where the host can' : ''
    lines.push(
      `| ${flag} | ${spec.key ? `\`${spec.key}\`` : ''} | ${words[spec.state]}${where}${again} | ${optionTexts[name] ?? ''} |`,
    )
  }
  return `${lines.join('\n')}\n`
}

const reasons = (list: readonly Explained[]): string[] =>
  list.map(({ line, why }) => `| \`${line.source.replaceAll('|', '\\|')}\` | ${why} |`)

const parityDocs = (): string => {
  const lines = [
    '# Command lines beside dockerd',
    '',
    'What `scripts/parity` finds between Berth and Debian 13’s dockerd 26.1 with the same client, and why it is so. A line is told by the expression that is found in it. This file is made from `parity/explained.ts` by `npm run docs`.',
    '',
    '| command lines | why |',
    '|---|---|',
    ...reasons(explained),
    '',
    '## Images beside BuildKit’s',
    '',
    '`scripts/parity builds` builds the Dockerfiles of `parity/builds` with BuildKit in dockerd 26.1 and with Berth, and compares each field of the images’ configurations, each entry of each layer with its kind, mode, owner, time, target, content and attributes, and the words of those that fail. Names of builds whose differences are meant, from `parity/explainedBuilds.ts`:',
    '',
    '| builds | why |',
    '|---|---|',
    ...reasons(explainedBuilds),
    '',
    'In all layers of BuildKit `/etc` is made anew by the places of its own files, and whiteouts have other modes.',
  ]
  return `${lines.join('\n')}\n`
}

const files: Record<string, () => string> = {
  'docs/api.md': apiDocs,
  'docs/daemon-options.md': optionDocs,
  'docs/parity.md': parityDocs,
}
for (const [file, make] of Object.entries(files)) {
  const text = make()
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} is not what the code says: run npm run docs`)
    process.exitCode = 1
  }
}
