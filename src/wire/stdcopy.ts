/** Docker's multiplexed stream: 8 bytes (stream, three zeros, length as big-endian u32), then the bytes. */
export const stdcopyFrame = (stream: 1 | 2, data: Uint8Array): Buffer => {
  const frame = Buffer.allocUnsafe(8 + data.length)
  frame.writeUInt32BE(stream << 24, 0)
  frame.writeUInt32BE(data.length, 4)
  frame.set(data, 8)
  return frame
}
