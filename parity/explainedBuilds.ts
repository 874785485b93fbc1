import type { Explained } from './explained.ts'

/** Differences between images of BuildKit in dockerd 26.1 and of Berth that are meant, by the name of the build. */
export const explainedBuilds: readonly Explained[] = []
