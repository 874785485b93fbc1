import type { BridgeSpec } from '../../net/types.ts'

/** A network as it is stored. */
export interface NetworkRecord {
  id: string
  name: string
  created: string
  driver: 'bridge' | 'host' | 'null'
  /** Of a bridge network. */
  bridge?: BridgeSpec
  options: Record<string, string>
  labels: Record<string, string>
}
