/** Holds the house rules that no linter knows: names that say nothing, files over the wall, dead links in docs. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

const wall = 600
const emptyNames = /(^|\/)(utils?|helpers?|common|misc|manager|stuff)(\/|\.[a-z]+$)/
const typesOnly = /(^|\/)types(\.|\/)|\.generated\.|_pb\.ts$/

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter(file => file !== '' && existsSync(file))

const problems: string[] = []
for (const file of files) {
  if (emptyNames.test(file)) problems.push(`${file}: name it by what it does`)
  if (/\.(ts|c|h)$/.test(file) && !typesOnly.test(file)) {
    const lines = readFileSync(file, 'utf8').split('\n').length - 1
    if (lines > wall) problems.push(`${file}: ${lines} lines, at most ${wall}`)
  }
  if (file.endsWith('.md')) {
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (!target || /^[a-z]+:/.test(target)) continue
      if (!existsSync(path.join(path.dirname(file), target))) problems.push(`${file}: dead link ${target}`)
    }
  }
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
