import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { writeClientConfig } from '../tests/harness/daemon.ts'
import { projectRoot } from '../tests/harness/images.ts'
import { type Outcome, run } from '../tests/harness/shell.ts'

/** What a line made is no other line's. */
const cleanUp = `
ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -f -v $ids
docker network prune -f; docker volume prune -af
for name in $(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v '^busybox:latest$'); do docker rmi -f $name; done`

/** The docker client, with an engine. */
export class Client {
  readonly #env: Record<string, string>
  /** Where scripts run. */
  readonly folder: string

  constructor(socket: string, base: string) {
    this.folder = path.join(base, 'work')
    writeClientConfig(path.join(base, 'client'))
    this.#env = {
      DOCKER_HOST: `unix://${socket}`,
      DOCKER_CONFIG: path.join(base, 'client'),
      PATH: `${path.join(projectRoot, '.cache/clients')}:${process.env['PATH']}`,
    }
  }

  async run(script: string): Promise<Outcome> {
    return await run(['sh', '-c', `cd ${this.folder} && { ${script}\n}`], { env: this.#env })
  }

  /** In an empty folder, and takes away all that was made. */
  async runAlone(script: string): Promise<Outcome> {
    mkdirSync(this.folder, { recursive: true })
    const outcome = await this.run(script)
    await run(['sh', '-c', cleanUp], { env: this.#env })
    rmSync(this.folder, { recursive: true, force: true })
    return outcome
  }
}
