// Reads {files, network} in hex from standard input, and answers {outcome, rule} for each package file.
import { readFileSync } from 'node:fs'
import { said, verify, walk } from './second.mjs'

const { files, network } = JSON.parse(readFileSync(0, 'utf8'))
const answers = files.map((file) => said(() => verify(Buffer.from(file, 'hex'), walk(Buffer.from(network, 'hex')))))
console.log(JSON.stringify({ answers: JSON.stringify(answers) }))
