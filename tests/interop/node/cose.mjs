// Reads {public, data} in hex from standard input, and answers with the payload that
// @ldclabs/cose-ts verified, or with why it refuses.
import { readFileSync } from 'node:fs'
import { register } from 'node:module'

// That package is written for bundlers: its own imports lack the ending that node wants.
const hook = `export const resolve = (name, context, next) =>
  next(/^\\.\\/[a-z0-9]+$/.test(name) ? name + '.js' : name, context)`
register('data:text/javascript,' + encodeURIComponent(hook))
const { Ed25519Key } = await import('@ldclabs/cose-ts/ed25519')
const { Sign1Message } = await import('@ldclabs/cose-ts/sign1')

const input = JSON.parse(readFileSync(0, 'utf8'))
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'))
let answer
try {
  const message = Sign1Message.fromBytes(Ed25519Key.fromPublic(bytes(input.public)), bytes(input.data))
  answer = { payload: Buffer.from(message.payload).toString('hex') }
} catch (error) {
  answer = { refused: String(error) }
}
console.log(JSON.stringify(answer))
