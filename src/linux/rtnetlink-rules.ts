import { flags, type Message, textAttribute, u32Attribute } from './netlink.ts'

/** IPv4 rules that choose a routing table. Numbers from linux/fib_rules.h. */

const RTM_NEWRULE = 32
const RTM_DELRULE = 33
const AF_INET = 2
const FR_ACT_TO_TBL = 1
const FRA = { iifName: 3, priority: 6, mark: 10, table: 15 }

export const mainTable = 254

export interface RoutingRule {
  priority: number
  /** Packets that came in by this link, … */
  incoming?: string
  /** … or that bear this mark, … */
  mark?: number
  /** … are looked up in this table. */
  table: number
}

const ruleBody = ({ priority, incoming, mark, table }: RoutingRule): Buffer => {
  const header = Buffer.alloc(12)
  header.writeUInt8(AF_INET, 0)
  header.writeUInt8(FR_ACT_TO_TBL, 7)
  const parts = [u32Attribute(FRA.priority, priority), u32Attribute(FRA.table, table)]
  if (incoming !== undefined) parts.push(textAttribute(FRA.iifName, incoming))
  if (mark !== undefined) parts.push(u32Attribute(FRA.mark, mark))
  return Buffer.concat([header, ...parts])
}

/** Refused with EEXIST where the same rule is there. */
export const addRule = (rule: RoutingRule): Message => ({
  type: RTM_NEWRULE,
  flags: flags.create | flags.exclusive,
  body: ruleBody(rule),
  what: `add routing rule ${rule.priority}`,
})

/** Refused with ENOENT where there is none. */
export const deleteRule = (rule: RoutingRule): Message => ({
  type: RTM_DELRULE,
  flags: 0,
  body: ruleBody(rule),
  what: `delete routing rule ${rule.priority}`,
})
