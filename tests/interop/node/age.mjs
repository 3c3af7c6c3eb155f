// Reads a task from standard input and does it with the age-encryption package:
// {identity, data} or {passphrase, data} opens, {recipient, data} seals; data is hex.
import { readFileSync } from 'node:fs'
import { Decrypter, Encrypter } from 'age-encryption'

const input = JSON.parse(readFileSync(0, 'utf8'))
const data = Uint8Array.from(Buffer.from(input.data, 'hex'))
let answer
try {
  let result
  if (input.recipient) {
    const encrypter = new Encrypter()
    encrypter.addRecipient(input.recipient)
    result = await encrypter.encrypt(data)
  } else {
    const decrypter = new Decrypter()
    if (input.identity) decrypter.addIdentity(input.identity)
    if (input.passphrase) decrypter.addPassphrase(input.passphrase)
    result = await decrypter.decrypt(data)
  }
  answer = { data: Buffer.from(result).toString('hex') }
} catch (error) {
  answer = { refused: String(error) }
}
console.log(JSON.stringify(answer))
