// Decides the cases of spec/vectors/verify.json, from spec/verify.md: reads {bytes, cases} from standard input, and
// answers {check: [result, rule]} for each case.
import { readFileSync } from 'node:fs'
import {
  Refused, Unknown, bytesOf, checkItem, checkOrder, consistency, covers, decode, fail, fingerprint, head, holds, leafHash, multiproof, need,
  open, partsOf, pathOf, proveEntry, proveStanding, same, sha256,
} from './second.mjs'

const input = JSON.parse(readFileSync(0, 'utf8'))
const bytes = (text) => Buffer.from(text.startsWith('#') ? input.bytes[text] : text, 'hex')

// encoding.md, as far as what is signed in parts needs it.
const headOfItem = (major, n) => (n < 24 ? Buffer.from([(major << 5) | n]) : n < 256 ? Buffer.from([(major << 5) | 24, n]) : Buffer.from([(major << 5) | 25, n >> 8, n & 255]))
const encode = (value) => Buffer.isBuffer(value) ? bytesOf(value) : typeof value === 'number' ? headOfItem(value < 0 ? 1 : 0, value < 0 ? -1 - value : value)
  : typeof value === 'string' ? Buffer.concat([headOfItem(3, Buffer.byteLength(value)), Buffer.from(value)])
  : Array.isArray(value) ? Buffer.concat([headOfItem(4, value.length), ...value.map(encode)])
  : Buffer.concat([headOfItem(5, value.size), ...[...value].flat().map(encode)])

// What the checks share.
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
  return answer.registration ? decode(bytes(answer.registration)) : partsOf(bytes(answer.evidence))
}
const indexOf = (answer) => (answer.evidence ? partsOf(bytes(answer.evidence)).registration[1] : 0)
function firm(c, { status, anchor }, first, origin) { // the level asked, by a newer head or by an anchor
  if (anchor && anchored(c, origin, anchor[4], anchor[5])) return consistency(first.size, anchor[4], pathOf(anchor[6]), first.root, anchor[5])
  const newest = headOf(c, status[4], origin)
  consistency(first.size, newest.size, pathOf(status[5]), first.root, newest.root)
  need(newest.level >= c.policy.level, 'evidence.3')
}
function registered(c, answer, origin) {
  const evidence = answerOf(answer)
  need(c.network.get(8).some((row) => row[0] === origin), 'network.7')
  return unproven(() => {
    const first = headOf(c, evidence.registration[3], origin), entry = proveEntry(evidence, first)
    if (first.level < c.policy.level) firm(c, evidence, first, origin)
    return { first, entry }
  })
}
function stands(c, answer, first, origin, withdrawn) {
  const evidence = answerOf(answer)
  const { revoked, at } = unproven(() => {
    const newest = headOf(c, evidence.status[4], origin)
    need(!c.network.get(9).length || newest.level > 1, 'evidence.3')
    return proveStanding(evidence, first, newest)
  })
  need(!revoked, withdrawn)
  if (c.time - at > c.policy.status_seconds) throw new Unknown('evidence.7')
  if (at - c.time > c.policy.skew_seconds) throw new Unknown('evidence.8')
}
function onOurLine(c, origin, { size, root }) {
  const ours = c.joined[origin]?.[size]
  if (ours === undefined) throw new Unknown('evidence.5')
  need(ours === root.toString('hex'), 'evidence.4')
}
function signer(c, id, key, origin, index, role, fits = () => true) {
  const member = c.network.get(7).find((row) => row.get(1) === id) ?? fail('network.6')
  const row = member.get(5).find((each) => same(each[0], key))
  need(row && covers(row[2], origin, index), 'network.8')
  need(member.get(7).some((each) => each[0] === role && covers(each[3], origin, index) && fits(each)), 'network.9')
}
const asked = (list, one) => !list.length || list.includes(one)
const fits = (want, said) => want.get(1).includes(said.get(100)) && asked(want.get(2), said.get(1))
const windows = (p) => p.items.flatMap(({ kind, steps, value }, i) => kind !== 1 ? [] : [{
  table: steps[0], begins: value[1], until: value[2], complete: p.indices[i + value[0]] === p.indices[i] + value[0],
}])
const newestEnd = (p) => Math.max(...windows(p).map((each) => each.until), windows(p).length ? 0 : p.said.get(6))
const begins = (path, { kind, steps }) => path.every((step, i) => (i ? steps[i - 1] : kind) === step)
const meeting = (c, want) => c.packages.filter((p) => fits(want, p.said) && c.time - newestEnd(p) <= want.get(6) &&
  want.get(3).every((path) => p.items.some((item) => begins(path, item))))
function reaches(p, [table, from, until]) {
  let reached = from
  const shown = windows(p).filter((each) => each.complete && each.table === table).sort((a, b) => a.begins - b.begins)
  for (const each of shown) if (each.begins <= reached) reached = Math.max(reached, each.until)
  return reached >= until
}

const ALL = 'package presentation evidence', CONSENT = 'presentation evidence'
const CHECKS = [
  [1, [], ALL, (c, p) => {
    p.items = p.leaves.map(checkItem)
    if (c.request) c.asking = open(c.request, 'request')
    if (c.request) c.asked = decode(c.asking.payload)
  }],
  [2, [], ALL, (c, p) => {
    const { key, payload } = open(p.statement, 'statement')
    Object.assign(p, { key, said: decode(payload) })
  }],
  [3, [2], ALL, (c, { said, key, issued }) => {
    if (c.time >= c.network.get(4)) throw new Unknown('network.5')
    signer(c, said.get(1), key, said.get(106), indexOf(issued), 1, (role) => asked(role[1], said.get(103)) && asked(role[2], said.get(100)))
  }],
  [4, [1, 2], ALL, (c, { said }) => {
    need(c.policy.bases.includes(said.get(103)), 'policy.1')
    need(asked(c.policy.issuers, said.get(1)), 'policy.2')
    need(asked(c.policy.types, said.get(100)), 'policy.4')
    need(!c.asked || c.asked.get(122).some((want) => fits(want, said)), 'policy.3')
  }],
  [5, [2], ALL, (c, p) => Object.assign(p, registered(c, p.issued, p.said.get(106)))],
  [6, [1, 5], ALL, (c, p) => {
    for (const [answer, origin] of [[p.issued, p.said.get(106)], [p.granted, c.asked?.get(106)]])
      if (answer.evidence && origin) onOurLine(c, origin, unproven(() => headOf(c, answerOf(answer).status[4], origin)))
  }],
  [7, [5], ALL, (c, { said, key, statement, entry }) => {
    need(entry[0] === 1 && same(entry[1], fingerprint(statement)) && same(entry[2], said.get(105)) && same(entry[3], key), 'package.6')
    need(said.get(6) <= entry[4] + 300 && said.get(6) >= entry[4] - 30 * 86400, 'package.7')
  }],
  [8, [7], ALL, (c, p) => stands(c, p.issued, p.first, p.said.get(106), 'package.8')],
  [9, [2], ALL, (c, { said }) => {
    need(c.time >= said.get(6) - c.policy.skew_seconds, 'package.4')
    need(c.time < said.get(4) + c.policy.skew_seconds, 'package.5')
  }],
  [10, [1, 2], ALL, (c, p) => {
    multiproof(p.indices, p.leaves.map(leafHash), p.said.get(102), p.multiproof, p.said.get(101))
    checkOrder(p.leaves, p.indices)
  }],
  [11, [10], CONSENT, (c, p) => {
    need(c.policy.record_seconds === null || c.time - newestEnd(p) <= c.policy.record_seconds, 'policy.5')
    for (const want of c.asked.get(122)) need(meeting(c, want).length > 0, 'request.8')
  }],
  [12, [11], CONSENT, (c) => {
    for (const want of c.asked.get(122))
      need(!want.get(5).length || meeting(c, want).some((p) => want.get(5).every((span) => reaches(p, span))), 'request.9')
  }],
  [13, [10], ALL, (c, p) => {
    const listed = p.documents.map(([index]) => index)
    const shown = p.indices.flatMap((index, i) => p.items[i].kind === 3 && (c.profile !== 'package' || listed.includes(index)) ? [[index, p.items[i].value]] : [])
    need(shown.map(([index]) => index).join() === listed.join(), 'presentation.3')
    for (const [index, [, size, hash]] of shown) {
      const file = p.found[index]
      if (!file && c.profile === 'evidence') continue
      if (!file) throw new Unknown('presentation.4')
      need(file[0] === size && file[1] === hash.toString('hex'), 'presentation.5')
    }
  }],
  [14, [1], CONSENT, (c, p) => {
    need(c.asked.get(1) === c.receiver, 'request.10')
    signer(c, c.asked.get(1), c.asking.key, c.asked.get(106), indexOf(p.granted), 2)
    if (c.profile === 'evidence') return
    need(c.time < c.asked.get(4) + c.policy.skew_seconds, 'request.3')
    need(c.time >= c.asked.get(6) - c.policy.skew_seconds, 'request.4')
    need(!c.answered, 'request.7')
  }],
  [15, [2], CONSENT, (c, p) => {
    const { key, payload } = open(p.grant, 'grant')
    need(same(key, p.said.get(8).get(3)), 'cose.5')
    p.given = decode(payload)
  }],
  [16, [14, 15], CONSENT, (c, { given }) => need(given.get(3) === c.asked.get(1), 'grant.2')],
  [17, [1, 15], CONSENT, (c, { given, indices, leaves }) => {
    need(same(given.get(140), fingerprint(c.request)), 'grant.3')
    need(same(Buffer.concat(given.get(141)), Buffer.concat(c.packages.map((p) => fingerprint(p.statement)))), 'grant.6')
    need(same(given.get(142), sha256(encode(indices.map((index, i) => [index, leafHash(leaves[i])])))), 'grant.5')
  }],
  [18, [14, 15], CONSENT, (c, p) => {
    const log = c.asked.get(106), { first, entry } = registered(c, p.granted, log)
    p.grantedFirst = first
    need(entry[0] === 2 && same(entry[1], fingerprint(p.grant)) && same(entry[2], p.given.get(105)), 'grant.7')
    need(same(entry[3], c.asked.get(128)) && p.given.get(106) === log, 'grant.7')
  }],
  [19, [18], CONSENT, (c, p) => stands(c, p.granted, p.grantedFirst, c.asked.get(106), 'grant.9')],
  [20, [15], CONSENT, (c, { given }) => {
    need(c.time < given.get(4) + c.policy.skew_seconds, 'grant.4')
    need(c.time >= given.get(6) - c.policy.skew_seconds, 'grant.8')
  }],
  [21, [14], CONSENT, (c) => need(c.session !== 'other', 'verify.21')],
  [22, [18], 'evidence', (c, p) => {
    need(c.receipt, 'verify.22')
    const [leaf, index, path, note] = answerOf(p.used), log = c.asked.get(106)
    const { key, payload } = open(c.receipt, 'receipt'), said = decode(payload)
    const grants = Buffer.concat(c.packages.map((each) => fingerprint(each.grant)))
    need(said.get(1) === c.asked.get(1) && same(said.get(140), fingerprint(c.request)) && same(Buffer.concat(said.get(143)), grants), 'receipt.2')
    need(said.get(144) === 1, 'verify.22')
    signer(c, said.get(1), key, log, index, 2)
    const { used, first } = unproven(() => {
      const first = headOf(c, note, log)
      need(first.level >= c.policy.level, 'evidence.3')
      return { first, used: proveEntry({ registration: [leaf, index, path] }, first) }
    })
    need(used[0] === 3 && used[1] === indexOf(p.granted) && same(used[2], fingerprint(c.receipt)), 'verify.22')
    const use = c.asked.get(128), header = encode(new Map([[1, -8], [4, use], [16, 'application/ddtp-1-use+cose']]))
    const signed = ['Signature1', header, Buffer.alloc(0), encode(new Map([[106, log], [161, used[1]], [162, used[2]]]))]
    need(holds(used[3], encode(signed), use), 'cose.4')
    onOurLine(c, log, first)
  }],
]

function decide(row) {
  const packages = row.packages.map((p) => ({
    ...p, statement: bytes(p.statement), grant: bytes(p.grant), leaves: p.leaves.map(bytes), multiproof: p.multiproof.map(bytes),
  }))
  const given = { network: decode(bytes(row.network), 4 * 2 ** 20), request: row.request && bytes(row.request), receipt: row.receipt && bytes(row.receipt) }
  const c = { ...row, ...given, packages, time: row.as_of ?? row.now }
  const found = {}
  for (const [number, after, profiles, run] of CHECKS) {
    const check = `verify.${number}`, below = after.map((n) => `verify.${n}`).find((each) => !['passed', 'not_applicable'].includes(found[each][0]))
    const made = profiles.split(' ').includes(c.profile)
    found[check] = !made ? ['not_applicable', null] : below ? ['unknown', below] : ['passed', null]
    for (const p of made && !below ? packages : []) {
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
