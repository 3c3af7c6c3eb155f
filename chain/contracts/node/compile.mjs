// Prints what Registry.sol compiles to; the same bytes on every machine, by the compiler pinned here.
//     npm ci --ignore-scripts && npm run --silent compile > ../Registry.json
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import solc from "solc";

const settings = {
  evmVersion: "paris", // no PUSH0: consortium chains are behind
  optimizer: { enabled: true, runs: 1_000_000 },
  metadata: { appendCBOR: false, bytecodeHash: "none" }, // no hash of paths in the code
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
const content = readFileSync(new URL("../Registry.sol", import.meta.url), "utf8");
const input = { language: "Solidity", sources: { "Registry.sol": { content } }, settings };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors ?? []) console.error(error.formattedMessage);
if ((output.errors ?? []).length > 0) process.exit(1);
const made = output.contracts["Registry.sol"].Registry;
const code = made.evm.deployedBytecode.object;
const { outputSelection, ...used } = settings;
console.log(
  JSON.stringify(
    {
      compiler: solc.version(),
      settings: used,
      codeHash: createHash("sha256").update(Buffer.from(code, "hex")).digest("hex"),
      bytecode: made.evm.bytecode.object,
      abi: made.abi,
    },
    null,
    2,
  ),
);
