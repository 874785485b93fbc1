/**
 * The suite: checks first, then every test file, files in parallel. Files that
 * need the machine to themselves (`*.alone.test.ts`) come last, one by one.
 * Last it looks whether anything was left behind: mounts, namespaces, links,
 * firewall tables, control groups, processes, files. Ends with the line `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { cpus } from 'node:os'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { patience } from '../tests/harness/shell.ts'
import { leftovers } from './leftovers.ts'

interface Count {
  passed: number
  failed: number
}

const runFiles = (files: string[], concurrency: number): Promise<Count> => {
  const count: Count = { passed: 0, failed: 0 }
  if (files.length === 0) return Promise.resolve(count)
  const stream = run({ files, concurrency, timeout: 600_000 * patience })
  stream.on('test:pass', event => {
    if (event.details.type !== 'suite' && event.skip === undefined) count.passed++
  })
  stream.on('test:fail', event => {
    if (event.details.type !== 'suite') count.failed++
  })
  stream.compose(spec).pipe(process.stdout)
  return new Promise(resolve => stream.once('end', () => resolve(count)))
}

const chosen = process.argv.slice(2)
const all = chosen.length ? chosen : globSync(['src/**/*.test.ts', 'tests/**/*.test.ts']).sort()
const alone = all.filter(file => file.endsWith('.alone.test.ts'))
const total: Count = { passed: 0, failed: 0 }
const add = ({ passed, failed }: Count): void => {
  total.passed += passed
  total.failed += failed
}

const before = leftovers()
if (chosen.length === 0) {
  const checks = spawnSync('scripts/check', { stdio: 'inherit' })
  add(checks.status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 })
}
add(
  await runFiles(
    all.filter(file => !alone.includes(file)),
    Math.max(2, cpus().length),
  ),
)
add(await runFiles(alone, 1))
const left = [...leftovers()].filter(entry => !before.has(entry))
for (const entry of left) console.error(`left behind: ${entry}`)
add(left.length === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 })
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
