/** Engine API `EventMessage`. */
export interface EventMessage {
  Type: 'container' | 'image' | 'network' | 'volume' | 'daemon' | 'builder'
  Action: string
  Actor: { ID: string; Attributes: Record<string, string> }
  scope: 'local'
  /** Seconds since the epoch. */
  time: number
  /** Nanoseconds since the epoch; beyond a double, so written by its digits. */
  timeNano: bigint
}
