// Reads {vectors} of spec/vectors from standard input, each with what to `try`, and answers {outcome, rule} for each.
import { readFileSync } from 'node:fs'
import { checkKeyId, checkTile, consistency, decode, head, holds, inclusion, multiproof, need, open, partsOf, prove, said, same } from './second.mjs'

const bytes = (data) => (typeof data === 'string' ? Buffer.from(data, 'hex') : Buffer.alloc(data.times, data.repeat, 'hex'))
const hexes = (list) => list.map((each) => Buffer.from(each, 'hex'))
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const keyOf = (did) => Buffer.from([...did.slice(9)].reduce((n, each) => n * 58n + BigInt(ALPHABET.indexOf(each)), 0n).toString(16), 'hex')
const labelled = (value) => need(value instanceof Map && [...value.keys()].every((key) => typeof key === 'number'), 'cose.6')
function signed(data, kind, expected) {
  const { key, payload } = open(data, kind)
  need(!expected || same(key, keyOf(expected)), 'cose.5')
  labelled(decode(payload))
}
const TRIES = {
  encoding: (v) => decode(bytes(v.data)),
  keys: (v) => {
    checkKeyId(bytes(v.key))
    need(holds(bytes(v.signature), bytes(v.message), bytes(v.key)), 'keys.3')
  },
  cose: (v) => signed(bytes(v.data), v.kind, v.key),
  signed: (v) => signed(bytes(v.data), v.what, v.holder),
  multiproof: (v) => multiproof(v.indices, hexes(v.leaves), v.size, hexes(v.proof), bytes(v.root)),
  inclusion: (v) => inclusion(bytes(v.leaf), v.index, v.size, hexes(v.path), bytes(v.root)),
  consistency: (v) => consistency(v.old, v.size, hexes(v.path), bytes(v.old_root), bytes(v.root)),
  note: (v) => head(Buffer.from(v.note), v.origin, new Map([[8, [[v.origin, keyOf(v.key), '', '', null]]], [9, []]])),
  tile: (v) => need(checkTile(bytes(v.tile), hexes(v.path), v.index, v.size, bytes(v.root)) === v.revoked, 'another bit'),
  evidence: (v) => {
    const network = decode(bytes(v.network), 4 * 2 ** 20)
    need(prove(partsOf(bytes(v.data)), v.origin, network).revoked === v.revoked, 'another bit')
  },
}

const { vectors } = JSON.parse(readFileSync(0, 'utf8'))
console.log(JSON.stringify({ answers: JSON.stringify(vectors.map((vector) => said(() => TRIES[vector.try](vector)))) }))
