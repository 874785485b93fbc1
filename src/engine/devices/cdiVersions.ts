import type { CdiSpecification, ContainerEdits } from './cdiSpecification.ts'

/** Versions of CDI, oldest first. */
export const versions: readonly string[] = [
  '0.1.0',
  '0.2.0',
  '0.3.0',
  '0.4.0',
  '0.5.0',
  '0.6.0',
  '0.7.0',
  '0.8.0',
  '1.0.0',
  '1.1.0',
]

/** What came with a version, newest first. */
const came: [version: string, used: (spec: CdiSpecification, edits: ContainerEdits[]) => boolean][] = [
  [
    '1.1.0',
    (_, edits) =>
      edits.some(
        ({ netDevices, intelRdt }) =>
          netDevices?.length || intelRdt?.schemata !== undefined || intelRdt?.enableMonitoring,
      ),
  ],
  ['0.7.0', (_, edits) => edits.some(({ intelRdt, additionalGids }) => intelRdt || additionalGids?.length)],
  [
    '0.6.0',
    ({ annotations, devices = [], kind = '' }) =>
      [annotations, ...devices.map(device => device.annotations)].some(
        given => Object.keys(given ?? {}).length > 0,
      ) || (kind.split('/')[1] ?? '').includes('.'),
  ],
  [
    '0.5.0',
    ({ devices = [] }, edits) =>
      devices.some(({ name = '' }) => /^\d/.test(name)) ||
      edits.some(({ deviceNodes = [] }) => deviceNodes.some(node => node.hostPath)),
  ],
  ['0.4.0', (_, edits) => edits.some(({ mounts = [] }) => mounts.some(mount => mount.type))],
]

/** The oldest version that has all that a specification uses. */
export const neededVersion = (spec: CdiSpecification): string => {
  const edits = [
    spec.containerEdits ?? {},
    ...(spec.devices ?? []).map(device => device.containerEdits ?? {}),
  ]
  return came.find(([, used]) => used(spec, edits))?.[0] ?? '0.3.0'
}
