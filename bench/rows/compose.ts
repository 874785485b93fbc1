import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { projectRoot } from '../../tests/harness/images.ts'
import { must } from '../../tests/harness/shell.ts'
import { atMost, compareWall, interleave } from '../measure.ts'
import type { Engine, RowGroup } from '../types.ts'

const services = Array.from({ length: 10 }, (_, index) => `service${index}`)

const project = JSON.stringify({
  name: 'bench',
  services: Object.fromEntries(
    services.map(name => [
      name,
      { image: 'busybox:latest', command: ['sleep', '1000'], stop_signal: 'SIGKILL' },
    ]),
  ),
})

/** `docker compose` itself, client and all: up of ten services, up again with nothing to do, down. */
export const composeRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-bench-compose-'))
  const file = path.join(folder, 'compose.json')
  writeFileSync(file, project)
  const compose = ({ socket }: Engine, ...words: string[]): Promise<string> =>
    must([path.join(projectRoot, '.cache/clients/plugins/docker-compose'), '-f', file, ...words], {
      env: { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: folder },
    })
  const acts: [string, string[]][] = [
    ['up', ['up', '-d']],
    ['no-op', ['up', '-d']],
    ['down', ['down']],
  ]
  try {
    const contenders = engines.flatMap(engine =>
      acts.map(([act, words]) => ({
        name: `${engine.name} ${act}`,
        group: engine.group,
        once: async () => void (await compose(engine, ...words)),
      })),
    )
    const samples = await interleave(contenders, bench.rounds)
    const row = (act: string, name: string, limit: number) =>
      compareWall(samples, { name, ours: `berth ${act}`, theirs: `dockerd ${act}`, limit: atMost(limit) })
    return [
      row('up', 'compose up of 10 services', 0.4),
      row('no-op', 'compose up of 10 with nothing to do', 1),
      row('down', 'compose down of 10 services', 0.4),
    ]
  } finally {
    for (const engine of engines) await compose(engine, 'down').catch(() => {})
    rmSync(folder, { recursive: true, force: true })
  }
}
