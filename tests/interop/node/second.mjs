// A second implementation of the chapters that a verifier needs, written from spec/ alone.
// It is offline and judges as of the evidence in the file.
import { createHash, createPublicKey, verify as ed25519 } from 'node:crypto'

class Refused extends Error {}
class Unknown extends Error {}
const fail = (rule) => { throw new Refused(rule) }
const need = (holds, rule) => holds || fail(rule)
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest()
const same = (a, b) => Buffer.compare(a, b) === 0
const fingerprint = (data) => Buffer.concat([Buffer.from([0x12, 0x20]), sha256(data)])

// encoding.md: integers become numbers, or BigInt beyond 2^53; maps become Map.
function decode(data, limit = 2 ** 20) {
  need(data.length <= limit, 'cbor.6')
  let at = 0
  const take = (n) => {
    if (at + n > data.length) fail('cbor.1')
    return data.subarray(at, (at += n))
  }
  const head = () => {
    const first = take(1)[0], major = first >> 5, info = first & 31
    if (major === 7) return [7, info]
    if (info < 24) return [major, info]
    if (info === 31 && major >= 2 && major <= 5) fail('cbor.3')
    if (info > 27) fail('cbor.4')
    const width = 1 << (info - 24), number = BigInt('0x' + take(width).toString('hex'))
    need(number >= [24n, 256n, 65536n, 4294967296n][info - 24], 'cbor.3')
    return [major, number <= Number.MAX_SAFE_INTEGER ? Number(number) : number]
  }
  const item = (depth) => {
    const [major, n] = head()
    if (major === 0) return n
    if (major === 1) return typeof n === 'number' ? -1 - n : -1n - n
    if (major === 2) return take(Number(n))
    if (major === 3) {
      const bytes = take(Number(n))
      try { return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) } catch { fail('cbor.7') }
    }
    if (major === 6 || (major === 7 && (n < 20 || n > 22))) fail('cbor.4')
    if (major === 7) return [false, true, null][n - 20]
    need(Number(n) === 0 || depth < 16, 'cbor.5')
    if (major === 4) {
      const found = []
      for (let i = 0; i < n; i++) found.push(item(depth + 1))
      return found
    }
    const found = new Map()
    let before = null, kind = null
    for (let i = 0; i < n; i++) {
      const start = at, key = item(depth + 1), encoded = data.subarray(start, at)
      if (typeof key !== 'string' && !(typeof key === 'number' && key >= 0)) fail('cbor.4')
      if (kind !== null && kind !== typeof key) fail('cbor.4')
      need(before === null || Buffer.compare(before, encoded) < 0, 'cbor.3')
      kind = typeof key
      before = encoded
      found.set(key, item(depth + 1))
    }
    return found
  }
  const value = item(0)
  need(at === data.length, 'cbor.2')
  return value
}

// keys.md
const L = (1n << 252n) + 27742317777372353535851937790883648493n, P = (1n << 255n) - 19n
const SMALL = ['00'.repeat(32), '01' + '00'.repeat(31), '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'ec' + 'ff'.repeat(30) + '7f']
const little = (bytes) => BigInt('0x' + Buffer.from(bytes).reverse().toString('hex'))
const isPoint = (bytes) => {
  const plain = Buffer.from(bytes)
  plain[31] &= 0x7f
  return little(plain) < P && !SMALL.includes(plain.toString('hex'))
}
function checkKeyId(key) {
  need(Buffer.isBuffer(key) && key.length === 34 && key[0] === 0xed && key[1] === 0x01, 'keys.1')
  need(isPoint(key.subarray(2)), 'keys.2')
}
function holds(signature, message, key) {
  if (signature.length !== 64 || little(signature.subarray(32)) >= L || !isPoint(signature.subarray(0, 32))) return false
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key.subarray(2)])
  return ed25519(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
}

// cose.md: the one form, whose bytes all follow from kind, key, payload and signature.
const bytesOf = (data) => {
  const n = data.length, at = n < 24 ? [0x40 + n] : n < 256 ? [0x58, n] : n < 65536 ? [0x59, n >> 8, n & 255] : [0x5a, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255]
  return Buffer.concat([Buffer.from(at), data])
}
function open(data, kind, detached) {
  need(data.length <= 2 ** 20, 'cbor.6')
  let parts, header
  try {
    need(data[0] === 0xd2, 'cose.1')
    parts = decode(data.subarray(1))
    header = decode(parts[0])
  } catch { fail('cose.1') }
  const [, unprotected, attached, signature] = parts
  need(parts.length === 4 && unprotected instanceof Map && unprotected.size === 0 && header instanceof Map && [...header.keys()].join() === '1,4,16', 'cose.1')
  need(Buffer.isBuffer(signature) && signature.length === 64 && (detached ? attached === null : Buffer.isBuffer(attached)), 'cose.1')
  need(header.get(16) === `application/ddtp-1-${kind}+cose`, 'cose.2')
  need(header.get(1) === -8, 'cose.3')
  const key = header.get(4), payload = detached ?? attached
  checkKeyId(key)
  const signed = Buffer.concat([Buffer.from([0x84, 0x6a]), Buffer.from('Signature1'), bytesOf(parts[0]), Buffer.from([0x40]), bytesOf(payload)])
  need(holds(signature, signed, key), 'cose.4')
  return { key, payload }
}

// merkle.md
const leafHash = (leaf) => sha256(Buffer.from([0]), leaf), node = (a, b) => sha256(Buffer.from([1]), a, b)
function rootOf(hashes) {
  while (hashes.length > 1) hashes = hashes.flatMap((each, i) => (i % 2 ? [] : i + 1 < hashes.length ? [node(each, hashes[i + 1])] : [each]))
  return hashes[0]
}
const pathOf = (data) => {
  need(Buffer.isBuffer(data) && data.length % 32 === 0 && data.length <= 64 * 32, 'evidence.1')
  return Array.from({ length: data.length / 32 }, (_, i) => data.subarray(32 * i, 32 * i + 32))
}
function inclusion(hash, index, size, path, root) { // RFC 9162 section 2.1.3.2
  need(size > 0 && index >= 0 && index < size, 'merkle.1')
  let fn = BigInt(index), sn = BigInt(size - 1), r = hash
  for (const p of path) {
    need(sn > 0n, 'merkle.2')
    if (fn & 1n || fn === sn) {
      r = node(p, r)
      while (!(fn & 1n) && fn) { fn >>= 1n; sn >>= 1n }
    } else r = node(r, p)
    fn >>= 1n
    sn >>= 1n
  }
  need(sn === 0n, 'merkle.2')
  need(same(r, root), 'merkle.3')
}
function consistency(old, size, path, oldRoot, root) { // RFC 9162 section 2.1.4.2
  need(old > 0 && old <= size, 'merkle.1')
  if (old === size) return need(path.length === 0, 'merkle.2') && need(same(oldRoot, root), 'merkle.3')
  let fn = BigInt(old - 1), sn = BigInt(size - 1)
  while (fn & 1n) { fn >>= 1n; sn >>= 1n }
  const rest = fn ? [...path] : [oldRoot, ...path]
  need(rest.length > 0, 'merkle.2')
  let fr = rest[0], sr = rest[0]
  for (const c of rest.slice(1)) {
    need(sn > 0n, 'merkle.2')
    if (fn & 1n || fn === sn) {
      fr = node(c, fr)
      sr = node(c, sr)
      while (!(fn & 1n) && fn) { fn >>= 1n; sn >>= 1n }
    } else sr = node(sr, c)
    fn >>= 1n
    sn >>= 1n
  }
  need(sn === 0n, 'merkle.2')
  need(same(fr, oldRoot) && same(sr, root), 'merkle.3')
}

function multiproof(indices, leaves, size, proof, root) {
  need(size > 0 && size < 2 ** 63 && leaves.length === indices.length && [...leaves, ...proof].every((each) => each.length === 32), 'merkle.1')
  need(indices.length > 0 && indices.every((index, i) => i === 0 || index > indices[i - 1]), 'merkle.4')
  need(indices[0] >= 0 && indices.at(-1) < size, 'merkle.1')
  const left = [...proof], shown = [...leaves]
  const descend = (from, to) => { // from left to right; a subtree that shows nothing is one hash
    if (!indices.some((index) => index >= from && index < to)) return left.shift() ?? fail('merkle.2')
    if (to - from === 1) return shown.shift()
    let split = 1
    while (split * 2 < to - from) split *= 2
    return node(descend(from, from + split), descend(from + split, to))
  }
  const found = descend(0, size)
  need(left.length === 0, 'merkle.2')
  need(same(found, root), 'merkle.3')
}

// network.md: the walk from the first version, which whoever gives us the file has pinned.
function walk(data) {
  const file = decode(data.subarray(3), 16 * 2 ** 20)
  need(same(data.subarray(0, 3), Buffer.from('d9d9f7', 'hex')) && file.get(0) === 'network', 'cbor.8')
  let trusted = null, first = null
  for (const [body, signatures] of file.get(1)) {
    const next = decode(body, 4 * 2 ** 20)
    need([...next.keys()].join() === '1,2,3,4,5,6,7,8,9,10,11', 'network.1')
    const signers = new Set()
    for (const each of signatures) try { signers.add(open(each, 'network', body).key.toString('hex')) } catch { /* not counted */ }
    const enough = (by) => by.get(5).filter((key) => signers.has(key.toString('hex'))).length >= by.get(6)
    need(trusted === null || (next.get(3) === trusted.network.get(3) + 1 && same(next.get(2), fingerprint(trusted.body))), 'network.3')
    need(trusted === null ? next.get(3) === 1 : same(next.get(1), first), 'network.4')
    need(enough(next) && (trusted === null || enough(trusted.network)), 'network.2')
    first ??= fingerprint(body)
    trusted = { network: next, body }
  }
  return trusted.network
}
const covers = (bounds, origin, index) => bounds.size === 0 || (bounds.get(origin) ?? 0) > index

// note.md and network.md: a head of a log, and whether a quorum of witnesses stands behind it.
function head(data, origin, network) {
  const log = network.get(8).find((row) => row[0] === origin) ?? fail('network.7')
  const note = data.toString('utf8'), split = note.lastIndexOf('\n\n') + 1
  const lines = note.slice(split + 1).split('\n').slice(0, -1).map((line) => {
    const found = /^— ([^\s+]+) (\S+)$/u.exec(line) ?? fail('note.1')
    need(Buffer.from(found[2], 'base64').toString('base64') === found[2], 'note.4')
    return [found[1], Buffer.from(found[2], 'base64')]
  })
  const text = note.slice(0, split), form = /^(.+)\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n$/.exec(text)
  need(split > 0 && form && note.endsWith('\n') && lines.length > 0, 'note.1')
  need(form[1] === origin, 'note.3')
  need(BigInt(form[2]) < 2n ** 63n, 'note.1')
  need(Buffer.from(form[3], 'base64').toString('base64') === form[3], 'note.4')
  const hash = (name, kind, key) => sha256(Buffer.from(`${name}\n`), Buffer.from([kind]), key.subarray(2)).subarray(0, 4)
  const by = (name, kind, key) => lines.filter(([n, d]) => n === name && same(d.subarray(0, 4), hash(name, kind, key))).map(([, d]) => d.subarray(4))
  const [own] = by(origin, 1, log[1])
  need(own && holds(own, Buffer.from(text), log[1]), 'note.2')
  const times = network.get(9).filter((w) => w[2] !== log[2]).flatMap(([name, key]) => by(name, 4, key).filter((d) =>
    holds(d.subarray(8), Buffer.from(`cosignature/v1\ntime ${d.readBigUInt64BE(0)}\n${text}`), key))
    .map((d) => Number(d.readBigUInt64BE(0))).sort((a, b) => b - a).slice(0, 1)).sort((a, b) => b - a)
  const size = Number(form[2]), root = Buffer.from(form[3], 'base64')
  if (log[4]) need(size < log[4][0] || (size === log[4][0] && same(root, log[4][1])), 'network.10')
  const witnessed = network.get(9).length > 0 && times.length >= network.get(10)
  return { size, root, level: witnessed ? 2 : 1, at: witnessed ? times[network.get(10) - 1] : null }
}

// record.md: each item's place as texts that sort as the chapter orders them.
const text = (step) => `${String(Buffer.byteLength(step)).padStart(3, '0')}${Buffer.from(step).toString('hex')}`
const count = (n) => String(n).padStart(19, '0')
function checkItem(leaf) {
  const item = decode(leaf)
  need(Array.isArray(item) && item.length === 3 && Buffer.isBuffer(item[0]) && item[0].length === 16 && Array.isArray(item[1]), 'record.1')
  const [[kind, ...steps], value] = item.slice(1)
  need(steps.length > 0 && steps.every((step, i) => (typeof step === 'string') === !(kind === 4 || (kind === 2 && i === 2))), 'record.2')
  return { kind, steps, value }
}
function checkOrder(leaves, indices = leaves.map((_, index) => index)) { // of some leaves, or of a whole tree
  let before = '', section = null
  leaves.forEach((leaf, i) => {
    const { kind, steps, value } = checkItem(leaf), index = indices[i], of = kind === 1 || kind === 2 ? `${text(steps[0])}${text(steps[1])}` : ''
    const inside = section && index <= section.at + section.rows
    if (inside) need(kind === 2 && of === section.of && steps[2] === index - section.at - 1, 'record.3')
    else need(kind !== 2 || section?.of !== of, 'record.3')
    if (kind === 1) section = { at: index, of, rows: value[0] }
    const place = [() => `0${count(steps.length)}${steps.map(text).join('')}`, () => `1${text(steps[0])}${text(steps[1])}0`,
      () => `1${text(steps[0])}${text(steps[1])}1${count(steps[2])}`, () => `2${text(steps[0])}`, () => `3${count(steps[0])}`][kind] ?? fail('record.2')
    need(before < place(), 'record.3')
    before = place()
  })
}

// evidence.md, status.md
function partsOf(evidence) {
  const parts = decode(evidence)
  need(parts instanceof Map && ['1,2', '1,2,3'].includes([...parts.keys()].join()), 'evidence.1')
  const [registration, status, anchor] = [1, 2, 3].map((label) => parts.get(label))
  need(Array.isArray(registration) && registration.length === 4 && Array.isArray(status) && status.length === 6, 'evidence.1')
  need(anchor === undefined || (Array.isArray(anchor) && anchor.length === 7 && anchor[1].length === 20), 'evidence.1')
  for (const path of [registration[2], status[1], status[3], status[5]]) pathOf(path)
  return { registration, status, anchor }
}
function checkTile(tile, path, index, size, root) {
  need(index < size && tile.length === 1024, 'status.1')
  const number = Math.floor(index / 8192)
  inclusion(leafHash(tile), number, Math.ceil(size / 8192), path, root)
  for (let bit = size - 8192 * number; bit < 8192; bit++) need(!((tile[bit >> 3] >> (bit & 7)) & 1), 'status.2')
  return Boolean((tile[(index % 8192) >> 3] >> (index & 7)) & 1)
}
function proveEntry({ registration: [entry, index, path] }, first) {
  inclusion(leafHash(entry), index, first.size, pathOf(path), first.root)
  return decode(entry)
}
function proveStanding({ registration, status }, first, newest) {
  const [last, lastPath, tile, tilePath, , joint] = status, paths = [lastPath, tilePath, joint].map(pathOf), stands = decode(last)
  need(stands[0] === 6, 'evidence.2')
  inclusion(leafHash(last), newest.size - 1, newest.size, paths[0], newest.root)
  const revoked = checkTile(tile, paths[1], registration[1], newest.size - 1, stands[1])
  consistency(first.size, newest.size, paths[2], first.root, newest.root)
  return { revoked, time: stands[2], at: newest.at ?? stands[2] }
}
function prove(evidence, origin, network) {
  const first = head(evidence.registration[3], origin, network), newest = head(evidence.status[4], origin, network)
  const issued = proveEntry(evidence, first), witnessed = network.get(9).length === 0 || newest.level > 1
  return { issued, witnessed, ...proveStanding(evidence, first, newest) }
}

// package.md, entry.md
function verify(data, network) {
  need(same(data.subarray(0, 3), Buffer.from('d9d9f7', 'hex')), 'cbor.8')
  const file = decode(data.subarray(3), 64 * 2 ** 20)
  need(file instanceof Map && file.get(0) === 'package', 'cbor.8')
  need([...file.keys()].join() === '0,1,2,3,4', 'package.2')
  const [, signed, leaves, evidence] = [...file.values()]
  const { key, payload } = open(signed, 'statement'), said = decode(payload)
  need(said.get(102) % 32 === 0 && said.get(102) >= 32 && said.get(4) > said.get(6), 'package.1')
  need(leaves.length === said.get(102), 'package.3')
  need(same(rootOf(leaves.map(leafHash)), said.get(101)), 'merkle.3')
  checkOrder(leaves)
  if (evidence === null) throw new Unknown('evidence.6')
  const parts = partsOf(evidence), index = parts.registration[1], origin = said.get(106)
  const member = network.get(7).find((row) => row.get(1) === said.get(1)) ?? fail('network.6')
  const row = member.get(5).find((each) => same(each[0], key))
  need(row && covers(row[2], origin, index), 'network.8')
  need(member.get(7).some(([role, bases, types, bounds]) => role === 1 && covers(bounds, origin, index) &&
    (!bases.length || bases.includes(said.get(103))) && (!types.length || types.includes(said.get(100)))), 'network.9')
  let found
  try { // evidence that was brought and does not prove counts as absent, and nobody is asked
    found = prove(parts, origin, network)
  } catch (error) { throw new Unknown(error.message) }
  const { issued, time, witnessed, revoked } = found
  const means = issued[0] === 1 && same(issued[1], fingerprint(signed)) && same(issued[2], said.get(105)) && same(issued[3], key)
  if (!means) throw new Unknown('evidence.6')
  need(time >= said.get(6) - 300, 'package.4')
  need(time < said.get(4) + 300, 'package.5')
  need(said.get(6) <= issued[4] + 300 && said.get(6) >= issued[4] - 30 * 86400, 'package.7')
  if (!witnessed) throw new Unknown('evidence.3')
  need(!revoked, 'package.8')
}

export function said(act) {
  try {
    act()
    return { outcome: 'verified' }
  } catch (error) {
    const outcome = error instanceof Refused ? 'not_verified' : error instanceof Unknown ? 'could_not_check' : 'malformed'
    return { outcome, rule: error.message }
  }
}
export {
  Refused, Unknown, bytesOf, checkItem, checkKeyId, checkOrder, checkTile, consistency, covers, decode, fail, fingerprint, head, holds, inclusion,
  leafHash, multiproof, need, open, partsOf, pathOf, prove, proveEntry, proveStanding, same, sha256, verify, walk,
}
