import type { ListDigest } from './contextList.ts'
import type { SyncedTree } from './types.ts'

/** Messages between who holds a session and the worker that receives its files. */

export interface ContextTask {
  folder: string
  differ: 'metadata' | 'none'
}

export interface TaskError {
  code: string
  status: number
  message: string
}

/** What came, and the list that it came by. */
export interface Received {
  tree: SyncedTree
  list: ListDigest
}

export type ToContextWorker =
  | { id: number; kind: 'start'; task: ContextTask }
  /** What the client sent, framed. */
  | { id: number; kind: 'bytes'; bytes: Uint8Array }
  /** The client sends no more. */
  | { id: number; kind: 'end' }
  /** Nobody waits for it any more. */
  | { id: number; kind: 'leave' }

export type FromContextWorker =
  /** To the client, framed. */
  | { id: number; kind: 'bytes'; bytes: Uint8Array }
  /** One message of bytes was worked through. */
  | { id: number; kind: 'taken' }
  | { id: number; kind: 'done'; received: Received }
  | { id: number; kind: 'failed'; error: TaskError }
  /** Everything of it is closed. */
  | { id: number; kind: 'left' }

/** Messages of bytes that may be under way, and the size that is aimed at. */
export const window = 8
export const pieceSize = 256 * 1024
