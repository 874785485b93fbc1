import { quote } from '../characters.ts'
import { readDevice } from '../device.ts'
import { DockerfileError } from '../errors.ts'
import { readFlags } from '../flags.ts'
import { readMountText } from '../mount.ts'
import type { Statement } from '../statement.ts'
import type { Instruction } from '../types.ts'
import { baseOf } from './base.ts'
import { commandOf } from './commandLine.ts'

const networks = ['default', 'none', 'host']
const securities = ['insecure', 'sandbox']

export const readRun = (statement: Statement): Instruction => {
  const flags = readFlags(statement, {
    device: 'list',
    mount: 'list',
    network: 'text',
    security: 'text',
  })
  const [network] = flags.list('network')
  const [security] = flags.list('security')
  const devices = flags.list('device').map(({ value, range }) => ({ ...readDevice(value), range }))
  const mounts = flags.list('mount').map(readMountText)
  if (network && !networks.includes(network.value))
    throw new DockerfileError(`invalid network mode ${quote(network.value)}`)
  if (security && !securities.includes(security.value))
    throw new DockerfileError(`security ${quote(security.value)} is not valid`)
  return {
    ...baseOf(statement, flags.names),
    name: 'RUN',
    command: commandOf(statement),
    mounts,
    ...(network ? { network } : {}),
    ...(security ? { security } : {}),
    devices,
  }
}
