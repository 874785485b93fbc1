import type { Explained } from './explained.ts'

/** Differences between images of BuildKit in dockerd 26.1 and of Berth that are meant, by the name of the build. */
export const explainedBuilds: readonly Explained[] = [
  {
    line: /^(expose volume stopsignal|healthcheck|arg$|arg of the client|platform arguments)/,
    why: 'History as newer BuildKits write it: ports as a list, health checks with the names of their fields, arguments with their values.',
  },
  {
    line: /^(unknown flag|bad port|bad variable|no such program)$/,
    why: 'The words, and the exit code of a program that is not there, are those of newer BuildKits.',
  },
  {
    line: /^(copy what is not there|ignored)$/,
    why: 'What was looked into is called by another id.',
  },
  {
    line: /^(copy from a stage that is not there|unknown stage)$/,
    why: 'Neither reaches a registry, and each says so in its own words.',
  },
  {
    line: /^what a step sees$/,
    why: 'A step has `/dev/core`, as containers have with the OCI runtime that runs it.',
  },
]
