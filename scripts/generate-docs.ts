/**
 * Writes docs/api.md from the routes and docs/daemon-options.md from the option
 * table, so that neither can lie. `--check` fails where a file is not what it
 * would write.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Route } from '../src/api/route.ts'
import { allRoutes } from '../src/api/routes.ts'
import { apiVersion, minApiVersion } from '../src/api/server.ts'
import type { UnbuiltRoute } from '../src/api/unbuiltRoutes.ts'
import { optionTable } from '../src/daemon/options.ts'

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
  const docker = routes.filter(route => !route.own)
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
    '## Beyond Docker',
    '',
    'Operations of Berth’s own:',
    '',
    ...routes
      .filter(route => route.own)
      .map(route => `- \`${route.method} ${route.path}\` (${route.operation})`),
    '',
    '[Operations in flight](operations.md) has how they are used.',
    '',
    "Extra fields of Docker's objects stand under one key `Berth`:",
    '',
    '- `GET /system/df`: `Berth` has the bytes on disk by owner, as `du` counts them, and under `Logs` [what all logs take, their budget, and what it has taken](logs.md).',
    '',
    'Events carry causes as attributes:',
    '',
    '- a container’s `log_drop`: the daemon’s budget for logs has taken `berth.bytes` of its oldest output.',
    '- `berth.cause` of a container’s `die` (its process ended, a signal, out of memory, a call, a lost monitor, a restarted host) and of a `start` that nobody asked for by a call (restart policy).',
    '',
  )
  return lines.join('\n')
}

const words = {
  works: 'works as dockerd’s',
  own: 'Berth’s own',
  ignored: 'accepted with a warning: Berth does not have the part that it configures',
  later: 'accepted with a warning: not built yet, and ignoring it harms nothing',
  refused: 'refused: not built yet, and ignoring it would weaken security or lose data',
} as const

const optionDocs = (): string => {
  const lines = [
    '# Options of berthd',
    '',
    'Flags are dockerd’s; keys are those of its `daemon.json`, read from `/etc/berth/daemon.json` or the file named by `--config-file`. This file is made from the option table by `npm run docs`.',
    '',
    '| flag | key | here |',
    '|---|---|---|',
  ]
  for (const spec of optionTable) {
    const flag = spec.flag ? `\`--${spec.flag}\`${spec.short ? `, \`-${spec.short}\`` : ''}` : ''
    lines.push(`| ${flag} | ${spec.key ? `\`${spec.key}\`` : ''} | ${words[spec.state]} |`)
  }
  return `${lines.join('\n')}\n`
}

const files: Record<string, () => string> = { 'docs/api.md': apiDocs, 'docs/daemon-options.md': optionDocs }
for (const [file, make] of Object.entries(files)) {
  const text = make()
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} is not what the code says: run npm run docs`)
    process.exitCode = 1
  }
}
