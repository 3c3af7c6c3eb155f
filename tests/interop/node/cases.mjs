// Decides cases of spec/vectors/verify.json as far as their records go: verify.1 to verify.10 of spec/verify.md.
// Reads {bytes, cases} from standard input, and answers {check: [result, rule]} for each case.
import { readFileSync } from 'node:fs'
import {
  Refused, Unknown, checkItem, checkOrder, consistency, covers, decode, fail, fingerprint, head, leafHash, multiproof, need, open, partsOf,
  pathOf, proveEntry, proveStanding, same,
} from './second.mjs'

const input = JSON.parse(readFileSync(0, 'utf8'))
const bytes = (text) => Buffer.from(text.startsWith('#') ? input.bytes[text] : text, 'hex')

const unproven = (act) => { // what does not prove counts as absent, and nobody is left to ask
  try { return act() } catch (error) { throw error instanceof Refused ? new Unknown(error.message) : error }
}
const anchored = (c, origin, size, root) => same(Buffer.from(c.anchored[origin]?.[size] ?? '', 'hex'), root)
function headOf(c, data, origin) {
  const found = head(data, origin, c.network)
  return anchored(c, origin, found.size, found.root) ? { ...found, level: 3 } : found
}
function answerOf(answer) {
  if (answer.absent) fail('evidence.6')
  if (answer.unanswered) throw new Unknown(answer.unanswered)
  return partsOf(bytes(answer.evidence))
}
function firm(c, { status, anchor }, first, origin) { // the level asked, by a newer head or by an anchor
  if (anchor && anchored(c, origin, anchor[4], anchor[5])) return consistency(first.size, anchor[4], pathOf(anchor[6]), first.root, anchor[5])
  const newest = headOf(c, status[4], origin)
  consistency(first.size, newest.size, pathOf(status[5]), first.root, newest.root)
  need(newest.level >= c.policy.level, 'evidence.3')
}

const CHECKS = {
  'verify.1': [[], (c, p) => {
    p.leaves.forEach(checkItem)
    if (c.request) c.wanted = decode(open(c.request, 'request').payload).get(122)
  }],
  'verify.2': [[], (c, p) => {
    const { key, payload } = open(p.statement, 'statement')
    Object.assign(p, { key, said: decode(payload) })
  }],
  'verify.3': [[2], (c, p) => {
    if (c.time >= c.network.get(4)) throw new Unknown('network.5')
    const { said, key } = p, origin = said.get(106), index = p.issued.evidence ? partsOf(bytes(p.issued.evidence)).registration[1] : 0
    const member = c.network.get(7).find((row) => row.get(1) === said.get(1)) ?? fail('network.6')
    const row = member.get(5).find((each) => same(each[0], key))
    need(row && covers(row[2], origin, index), 'network.8')
    need(member.get(7).some(([role, bases, types, bounds]) => role === 1 && covers(bounds, origin, index) &&
      (!bases.length || bases.includes(said.get(103))) && (!types.length || types.includes(said.get(100)))), 'network.9')
  }],
  'verify.4': [[1, 2], (c, { said }) => {
    const issuer = said.get(1), type = said.get(100), asked = (list, one) => !list.length || list.includes(one)
    need(c.policy.bases.includes(said.get(103)), 'policy.1')
    need(asked(c.policy.issuers, issuer), 'policy.2')
    need(asked(c.policy.types, type), 'policy.4')
    need(!c.wanted || c.wanted.some((want) => want.get(1).includes(type) && asked(want.get(2), issuer)), 'policy.3')
  }],
  'verify.5': [[2], (c, p) => {
    const evidence = answerOf(p.issued), origin = p.said.get(106)
    need(c.network.get(8).some((row) => row[0] === origin), 'network.7')
    unproven(() => {
      p.first = headOf(c, evidence.registration[3], origin)
      p.entry = proveEntry(evidence, p.first)
      if (p.first.level < c.policy.level) firm(c, evidence, p.first, origin)
    })
  }],
  'verify.6': [[1, 5], (c, p) => {
    const log = c.request && decode(open(c.request, 'request').payload).get(106)
    for (const [answer, origin] of [[p.issued, p.said.get(106)], [p.granted, log]]) {
      if (!answer.evidence || !origin) continue
      const { size, root } = unproven(() => headOf(c, partsOf(bytes(answer.evidence)).status[4], origin))
      const ours = c.joined[origin]?.[size]
      if (ours === undefined) throw new Unknown('evidence.5')
      need(ours === root.toString('hex'), 'evidence.4')
    }
  }],
  'verify.7': [[5], (c, { said, key, statement, entry }) => {
    need(entry[0] === 1 && same(entry[1], fingerprint(statement)) && same(entry[2], said.get(105)) && same(entry[3], key), 'package.6')
    need(said.get(6) <= entry[4] + 300 && said.get(6) >= entry[4] - 30 * 86400, 'package.7')
  }],
  'verify.8': [[7], (c, p) => {
    const evidence = answerOf(p.issued), origin = p.said.get(106)
    const { revoked, at } = unproven(() => {
      const newest = headOf(c, evidence.status[4], origin)
      need(!c.network.get(9).length || newest.level > 1, 'evidence.3')
      return proveStanding(evidence, p.first, newest)
    })
    need(!revoked, 'package.8')
    if (c.time - at > c.policy.status_seconds) throw new Unknown('evidence.7')
    if (at - c.time > c.policy.skew_seconds) throw new Unknown('evidence.8')
  }],
  'verify.9': [[2], (c, { said }) => {
    need(c.time >= said.get(6) - c.policy.skew_seconds, 'package.4')
    need(c.time < said.get(4) + c.policy.skew_seconds, 'package.5')
  }],
  'verify.10': [[1, 2], (c, p) => {
    multiproof(p.indices, p.leaves.map(leafHash), p.said.get(102), p.multiproof, p.said.get(101))
    checkOrder(p.leaves, p.indices)
  }],
}

function decide(row) {
  const c = { ...row, time: row.as_of ?? row.now, network: decode(bytes(row.network), 4 * 2 ** 20), request: row.request && bytes(row.request) }
  const packages = row.packages.map((p) => ({
    ...p, statement: bytes(p.statement), leaves: p.leaves.map(bytes), multiproof: p.multiproof.map(bytes),
  }))
  const found = {}
  for (const [check, [after, run]] of Object.entries(CHECKS)) {
    const below = after.map((n) => `verify.${n}`).find((each) => found[each][0] !== 'passed')
    found[check] = below ? ['unknown', below] : ['passed', null]
    for (const p of below ? [] : packages) {
      try { run(c, p) } catch (error) {
        if (error instanceof Refused) { found[check] = ['failed', error.message]; break }
        if (!(error instanceof Unknown)) throw error
        found[check] = ['unknown', error.message]
      }
    }
  }
  return found
}
console.log(JSON.stringify({ answers: JSON.stringify(input.cases.map(decide)) }))
