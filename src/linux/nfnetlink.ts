import { type Answer, attributesOf, type NetlinkSocket, textOf } from './netlink.ts'

/** What the kernel tells of changes of nftables. Numbers from linux/netfilter/nf_tables.h. */

const NFNL_SUBSYS_NFTABLES = 10
const NFT_MSG_NEWGEN = 15
const NFT_MSG_GETGEN = 16
const NFTA_TABLE = 1
const NFTA_GEN_ID = 1
const NFTA_GEN_PROC_PID = 2
const NFTA_GEN_PROC_NAME = 3

/** Bit mask of NFNLGRP_NFTABLES, for `openNetlink`. */
export const nftablesGroup = 1 << 6

const body = Buffer.from([0, 0, 0, 0])

const messageType = (number: number): number => (NFNL_SUBSYS_NFTABLES << 8) | number

const pidOf = (attributes: Map<number, Buffer>): number =>
  attributes.get(NFTA_GEN_PROC_PID)?.readUInt32BE(0) ?? 0

/**
 * How many transactions there have been, and this thread's number as the
 * kernel names it in changes: not that of its own namespace.
 */
export const askGeneration = (socket: NetlinkSocket): { generation: number; ownPid: number } => {
  const what = 'ask for the generation of nftables'
  const answer = socket.ask({ type: messageType(NFT_MSG_GETGEN), flags: 0, body, what })
  const attributes = attributesOf(answer.body, 4)
  return { generation: attributes.get(NFTA_GEN_ID)?.readUInt32BE(0) ?? 0, ownPid: pidOf(attributes) }
}

/** One message: the end of a transaction, or something in a table that changed. */
export type RuleMessage = { kind: 'end'; pid: number; program: string } | { kind: 'change'; table: string }

/** Undefined for what is none of nftables'. */
export const ruleMessage = (answer: Answer): RuleMessage | undefined => {
  if (answer.type >> 8 !== NFNL_SUBSYS_NFTABLES) return undefined
  const attributes = attributesOf(answer.body, 4)
  if (answer.type === messageType(NFT_MSG_NEWGEN))
    return { kind: 'end', pid: pidOf(attributes), program: textOf(attributes.get(NFTA_GEN_PROC_NAME)) }
  return { kind: 'change', table: textOf(attributes.get(NFTA_TABLE)) }
}
