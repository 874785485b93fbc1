import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { Engine } from '../engine.ts'
import type { FillPlace } from './fill.ts'

/** Where a volume that is no mounted one is filled. */
export const plainPlace = (engine: Engine, name: string): FillPlace => {
  const { volumes } = engine
  return {
    stage: path.join(volumes.home(name), '.fill'),
    data: volumes.data(name),
    discard: stage => volumes.trash.take(stage),
  }
}

/** Of a mounted one: what is moved must be on its file system. */
export const mountedPlace = (data: string): FillPlace => ({
  stage: path.join(data, '.berth-fill'),
  data,
  discard: stage => rm(stage, { recursive: true, force: true }),
})
