import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import type { Nftables } from '../../linux/nftables.ts'
import { type ForeignChain, readLegacy, readRule } from './foreign.ts'

/** Reads what rules of others there are at the forward hook. Takes as long as they are many: for a worker. */

type Json = Record<string, unknown>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

const readAtMost = 300

/** Of any Berth daemon: they spare one another's bridges. */
const isOurs = (table: unknown): boolean => /^berth(-|$)/.test(String(table))

interface Place {
  family: string
  table: string
  name: string
}

const readChain = (
  nft: Nftables,
  { family, table, name }: Place,
): Pick<ForeignChain, 'table' | 'name' | 'rules'> => {
  const objects = nft.list(`list chain ${family} ${table} ${name}`)
  const rules = objects.flatMap(({ rule }) => (isObject(rule) ? [readRule(rule)] : []))
  return { table: `${family} ${table}`, name, rules }
}

/** A base chain and all that it leads to. */
const readTree = (nft: Nftables, base: Place, policy: 'accept' | 'drop'): ForeignChain[] => {
  const found = new Map<string, ForeignChain>()
  const open = [base.name]
  for (let name = open.pop(); name !== undefined && found.size < readAtMost; name = open.pop()) {
    if (found.has(name)) continue
    const chain = readChain(nft, { ...base, name })
    found.set(name, name === base.name ? { ...chain, policy } : chain)
    open.push(...chain.rules.flatMap(({ target }) => (target === '' ? [] : [target])))
  }
  return [...found.values()]
}

const readNftables = (nft: Nftables): ForeignChain[] =>
  nft.list('list chains').flatMap(({ chain }) => {
    if (!isObject(chain) || chain['hook'] !== 'forward' || chain['type'] !== 'filter') return []
    const { family, table, name } = chain
    if (!['ip', 'inet'].includes(String(family)) || isOurs(table)) return []
    const place = { family: String(family), table: String(table), name: String(name) }
    return readTree(nft, place, chain['policy'] === 'drop' ? 'drop' : 'accept')
  })

/** Rules of iptables from before nftables are in no listing of nft's. */
const readIptables = (): ForeignChain[] => {
  try {
    // The file lists the tables of the reader's own namespace.
    if (!fs.readFileSync('/proc/thread-self/net/ip_tables_names', 'utf8').split('\n').includes('filter'))
      return []
    return readLegacy(
      execFileSync('iptables-legacy-save', ['-t', 'filter'], { encoding: 'utf8', stdio: 'pipe' }),
    )
  } catch {
    // Neither in this kernel nor among the programs.
    return []
  }
}

export const examineForeign = (nft: Nftables): ForeignChain[] => [...readNftables(nft), ...readIptables()]
