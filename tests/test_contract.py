"""chain/contracts/Registry.sol: its bytes, its roles, and that it judges proofs as we do."""

import ast
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_tester.exceptions import TransactionFailed
from web3 import Web3
from web3.providers.eth_tester import EthereumTesterProvider

from chain import evm
from chain.anchor import LogName
from ddtp import merkle
from ddtp.keys import SigningKey
from ddtp.merkle import check_consistency, check_inclusion
from demo.anvil import NODE_MODULES, anvil
from tests.chains import Log, needs_anvil
from tests.interop.test_merkle import decode, vectors
from tests.rules import broken_rule

PAIRS = 130
BATCH = 500
needs_solc = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "solc").is_dir(),
    reason="needs node 20 or later and `npm ci --ignore-scripts` in chain/contracts/node",
)


@needs_solc
def test_the_committed_bytes_are_what_the_source_compiles_to() -> None:
    done = subprocess.run(
        ["node", "compile.mjs"],
        cwd=NODE_MODULES.parent,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == evm.contract()
    assert done.stdout.decode() == evm.CONTRACT.read_text(encoding="utf-8")


def test_the_code_runs_on_the_evm_of_paris() -> None:
    """No PUSH0 (5f): walked as code, since the bytes of pushed constants are none."""
    code, at, found = bytes.fromhex(evm.contract()["bytecode"]), 0, set()
    while at < len(code):
        found.add(code[at])
        at += 1 + max(0, code[at] - 0x5F if 0x60 <= code[at] <= 0x7F else 0)
    assert 0x5F not in found


# --- roles ---------------------------------------------------------------------------------------


class Chain:
    """A contract in eth-tester, with an admin, an operator, another operator and a stranger."""

    def __init__(self) -> None:
        web3 = Web3(EthereumTesterProvider())
        accounts: list[str] = list(map(str, web3.eth.accounts))
        self.admin, self.operator, self.other, self.stranger = accounts[:4]
        made = web3.eth.contract(abi=evm.contract()["abi"], bytecode=evm.contract()["bytecode"])
        sent = made.constructor().transact({"from": self.admin})
        address = web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
        self.at = web3.eth.contract(address, abi=evm.contract()["abi"])
        self.log = Log(LogName("log.example/1", SigningKey(b"\x01" * 32).key_id))
        self.id = self.log.name.id
        self.do(self.admin, "admit", self.operator, True)
        self.do(self.admin, "admit", self.other, True)
        self.do(self.operator, "open", self.log.name.origin, self.log.name.key.public)

    def do(self, who: str, name: str, *values: Any) -> str:
        """Return "ok", or the error by which the contract refuses."""
        call = getattr(self.at.functions, name)(*values)
        try:
            call.call({"from": who})
        except TransactionFailed as error:
            # eth-tester gives what the contract said as the text of its bytes.
            given: bytes = ast.literal_eval(str(error).partition(": ")[2])
            return ERRORS[given[:4]]
        call.transact({"from": who, "gas": evm.CALL_GAS})
        return "ok"

    def anchor(
        self, who: str, sequence: int, size: int, proof: Sequence[bytes] | None = None
    ) -> str:
        before = self.at.functions.logs(self.id).call()[2]
        if proof is None:
            nodes = self.log.nodes()
            proof = merkle.consistency_path(nodes, before, size) if 0 < before <= size else []
        root = self.log.head(size).root
        return self.do(who, "anchor", self.id, sequence, size, root, list(proof))


def signature(row: dict[str, Any]) -> str:
    return f"{row['name']}({','.join(each['type'] for each in row['inputs'])})"


ERRORS: dict[bytes, str] = {
    bytes(Web3.keccak(text=signature(row))[:4]): row["name"]
    for row in evm.contract()["abi"]
    if row["type"] == "error"
}


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_an_operator_anchors_his_log(chain: Chain) -> None:
    chain.log.grow(100)
    sizes = [3, 40, 100]
    assert {chain.anchor(chain.operator, n, size) for n, size in enumerate(sizes, 1)} == {"ok"}
    head = chain.log.head(40)
    assert chain.at.functions.head(chain.id, 2).call()[:2] == (head.root, 40)
    assert [size for _, size, _ in chain.at.functions.headPage(chain.id, 1, 256).call()] == [
        3,
        40,
        100,
    ]
    assert chain.at.functions.logs(chain.id).call() == [
        chain.operator, 3, 100, chain.log.name.key.public
    ]  # fmt: skip


def test_each_role_may_what_it_may_and_nothing_else(chain: Chain) -> None:
    chain.log.grow(9)
    key = bytes(32)
    assert {who: chain.anchor(who, 1, 5) for who in (chain.admin, chain.other, chain.stranger)} == {
        chain.admin: "NotOwner", chain.other: "NotOwner", chain.stranger: "NotOwner"
    }  # fmt: skip
    assert chain.do(chain.stranger, "open", "x.example", key) == "NotAdmitted"
    assert chain.do(chain.admin, "open", "x.example", key) == "NotAdmitted"
    name = chain.log.name
    assert chain.do(chain.other, "open", name.origin, name.key.public) == "AlreadyOpen"
    for who in (chain.operator, chain.other, chain.stranger):
        assert chain.do(who, "admit", who, True) == "NotAdmin"
        assert chain.do(who, "give", chain.id, who) == "NotAdmin"
        assert chain.do(who, "offer", who) == "NotAdmin"
        assert chain.do(who, "accept") == "NotAdmin"
    assert chain.do(chain.admin, "give", bytes(32), chain.other) == "NotOwner"


def test_a_suspended_operator_anchors_nothing_until_he_is_admitted_again(chain: Chain) -> None:
    chain.log.grow(9)
    assert chain.do(chain.admin, "admit", chain.operator, False) == "ok"
    assert chain.anchor(chain.operator, 1, 5) == "NotAdmitted"
    assert chain.do(chain.admin, "admit", chain.operator, True) == "ok"
    assert chain.anchor(chain.operator, 1, 5) == "ok"


def test_a_log_given_away_goes_on_from_its_heads(chain: Chain) -> None:
    chain.log.grow(9)
    assert chain.anchor(chain.operator, 1, 5) == "ok"
    assert chain.do(chain.admin, "give", chain.id, chain.other) == "ok"
    assert chain.anchor(chain.operator, 2, 9) == "NotOwner"
    assert chain.anchor(chain.other, 2, 9) == "ok"


def test_the_admin_hands_over_to_whoever_accepts(chain: Chain) -> None:
    assert chain.do(chain.admin, "offer", chain.other) == "ok"
    assert chain.do(chain.stranger, "accept") == "NotAdmin"
    assert chain.do(chain.admin, "admit", chain.stranger, True) == "ok"
    assert chain.do(chain.other, "accept") == "ok"
    assert chain.do(chain.admin, "admit", chain.stranger, False) == "NotAdmin"
    assert chain.do(chain.other, "accept") == "NotAdmin"


def test_a_wrong_sequence_proof_or_size_is_refused(chain: Chain) -> None:
    chain.log.grow(20)
    operator = chain.operator
    assert chain.anchor(operator, 0, 5) == "WrongSequence"
    assert chain.anchor(operator, 2, 5) == "WrongSequence"
    assert chain.anchor(operator, 1, 5, [bytes(32)]) == "WrongProof"  # the first head has none
    assert chain.do(operator, "anchor", chain.id, 1, 0, bytes(32), []) == "NotNewer"
    assert chain.do(operator, "anchor", chain.id, 1, 2**63, bytes(32), []) == "WrongProof"
    assert chain.anchor(operator, 1, 5) == "ok"
    assert chain.anchor(operator, 1, 9) == "WrongSequence"
    assert chain.anchor(operator, 2, 5) == "NotNewer"  # the same head twice
    assert chain.anchor(operator, 2, 3) == "NotNewer"  # rollback
    good = merkle.consistency_path(chain.log.nodes(), 5, 9)
    for wrong in ([], good[:-1], [*good, bytes(32)], good[::-1], [bytes(32), *good[1:]]):
        assert chain.anchor(operator, 2, 9, wrong) == "WrongProof"
    fork = chain.log.fork(4)
    fork.grow(8)
    path = merkle.consistency_path(fork.nodes(), 5, 9)
    assert chain.do(operator, "anchor", chain.id, 2, 9, fork.head(9).root, path) == "WrongProof"
    assert chain.anchor(operator, 2, 9, good) == "ok"


def test_logs_and_heads_are_read_by_pages(chain: Chain) -> None:
    for n in range(3):
        assert chain.do(chain.other, "open", f"{n}.example", bytes([n]) * 32) == "ok"
    count = chain.at.functions.logCount().call()
    ids = chain.at.functions.logPage(0, 2**255).call()
    assert (count, len(ids), ids[0]) == (4, 4, chain.id)
    assert chain.at.functions.logPage(1, 2).call() == ids[1:3]
    assert chain.at.functions.logPage(4, 9).call() == []
    assert chain.at.functions.headPage(chain.id, 0, 9).call() == []
    assert chain.at.functions.headPage(chain.id, 2**32 - 1, 2**32 - 1).call() == []
    assert chain.at.functions.head(chain.id, 7).call() == (bytes(32), 0, 0)


def test_a_court_checks_an_entry_against_an_anchored_head(chain: Chain) -> None:
    chain.log.grow(20)
    assert chain.anchor(chain.operator, 1, 13) == "ok"
    path = merkle.inclusion_path(chain.log.nodes(), 6, 13)
    leaf = chain.log.leaves[6]

    def proven(sequence: int, index: int, entry: bytes) -> bool:
        check = chain.at.functions.verifyInclusion
        return bool(check(chain.id, sequence, index, entry, path).call())

    assert proven(1, 6, leaf)
    assert not proven(1, 7, leaf)
    assert not proven(1, 6, leaf + b"x")
    assert not proven(2, 6, leaf)
    assert not chain.at.functions.isIncluded(0, 13, bytes(32), [], bytes(32)).call()


# --- proofs, as Python judges them ---------------------------------------------------------------

CONSISTENT = (
    Web3.keccak(text="isConsistent(uint64,uint64,bytes32[],bytes32,bytes32)")[:4],
    ("uint64", "uint64", "bytes32[]", "bytes32", "bytes32"),
)
INCLUDED = (
    Web3.keccak(text="isIncluded(uint64,uint64,bytes32,bytes32[],bytes32)")[:4],
    ("uint64", "uint64", "bytes32", "bytes32[]", "bytes32"),
)
Proof = tuple[Any, ...]


class Judge:
    """The pure functions of the contract, on anvil, many calls at a time."""

    def __init__(self, url: str) -> None:
        self.url = url
        sender = "0x" + "01" * 20
        self._call("anvil_impersonateAccount", sender)
        self._call("anvil_setBalance", sender, hex(10**20))
        made = {"from": sender, "data": f"0x{evm.contract()['bytecode']}", "gas": hex(3_000_000)}
        name = self._call("eth_sendTransaction", made)
        end = time.monotonic() + 10
        while (receipt := self._call("eth_getTransactionReceipt", name)) is None:
            assert time.monotonic() < end
        self.contract = receipt["contractAddress"]

    def __call__(
        self, function: tuple[bytes, Sequence[str]], proofs: Iterable[Proof]
    ) -> list[bool]:
        selector, types = function
        asked = [
            {"to": self.contract, "data": "0x" + (selector + encode(types, proof)).hex()}
            for proof in proofs
        ]
        found = []
        for start in range(0, len(asked), BATCH):
            found += self._post(
                [
                    {"jsonrpc": "2.0", "id": n, "method": "eth_call", "params": [each, "latest"]}
                    for n, each in enumerate(asked[start : start + BATCH])
                ]
            )
        return [int(each["result"], 16) == 1 for each in found]

    def _call(self, method: str, *params: object) -> Any:
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})["result"]

    def _post(self, body: object) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own node
            self.url, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.loads(response.read())


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with anvil(tmp_path_factory.mktemp("anvil"), ()) as url:
        yield Judge(url)


def consistent(old: int, size: int, path: list[bytes], old_root: bytes, root: bytes) -> bool:
    return broken_rule(lambda: check_consistency(old, size, path, old_root, root)) == "ok"


def included(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    return broken_rule(lambda: check_inclusion(index, size, leaf, path, root)) == "ok"


def spoiled(path: list[bytes], number: int) -> list[bytes]:
    """Return a path with one fault, which of them the number says."""
    other = sha256(bytes(number)).digest()
    faults = (
        path[:-1],
        [*path, other],
        path[::-1],
        [other, *path[1:]],
        [*path[:-1], other],
        path[1:],
    )
    return faults[number % len(faults)]


@needs_anvil
def test_the_chain_agrees_with_python_on_every_pair_of_sizes(judge: Judge) -> None:
    log = Log()
    log.grow(PAIRS)
    nodes, roots = log.nodes(), [log.head(size).root for size in range(PAIRS + 1)]
    proofs: list[Proof] = []
    for size in range(1, PAIRS + 1):
        for old in range(1, size + 1):
            path = merkle.consistency_path(nodes, old, size)
            proofs.append((old, size, path, roots[old], roots[size]))
            wrong = spoiled(path, old + size)
            proofs.append((old, size, wrong, roots[old], roots[size]))
        proofs.append((0, size, [], roots[0], roots[size]))
        proofs.append((size, size - 1, [], roots[size], roots[size - 1]))
    for root in (roots[5], bytes(32)):
        proofs.append((5, 9, merkle.consistency_path(nodes, 5, 9), root, roots[9]))
        proofs.append((5, 9, merkle.consistency_path(nodes, 5, 9), roots[5], root))
        proofs.append((5, 2**63, merkle.consistency_path(nodes, 5, 9), roots[5], root))
    said = judge(CONSISTENT, proofs)
    assert said == [consistent(*each) for each in proofs]
    assert said.count(True) >= PAIRS * (PAIRS + 1) // 2


@needs_anvil
def test_the_chain_agrees_with_python_on_every_leaf(judge: Judge) -> None:
    log = Log()
    log.grow(48)
    nodes, hashes = log.nodes(), merkle.leaf_hashes(log.leaves)
    proofs: list[Proof] = []
    for size in range(1, 49):
        root = log.head(size).root
        for index in range(size):
            path = merkle.inclusion_path(nodes, index, size)
            proofs.append((index, size, hashes[index], path, root))
            proofs.append((index, size, hashes[index], spoiled(path, index + size), root))
        proofs.append((size, size, hashes[0], [], root))
        proofs.append((0, size, bytes(32), [], bytes(32)))
    said = judge(INCLUDED, proofs)
    assert said == [included(*each) for each in proofs]
    assert said.count(True) >= 48 * 49 // 2


@needs_anvil
def test_the_chain_agrees_on_the_vectors_of_transparency_dev(judge: Judge) -> None:
    steps, leaves = [], []
    for wrong in (False, True):
        for _, case in vectors("consistency", wrong=wrong):
            path = [decode(text) for text in case["proof"] or []]
            roots = (decode(case["root1"]), decode(case["root2"]))
            steps.append((case["size1"], case["size2"], path, *roots))
        for _, case in vectors("inclusion", wrong=wrong):
            path = [decode(text) for text in case["proof"] or []]
            leaf, root = decode(case["leafHash"]), decode(case["root"])
            leaves.append((case["leafIdx"], case["treeSize"], leaf, path, root))
    steps, leaves = [*filter(is_sayable, steps)], [*filter(is_sayable, leaves)]
    if not steps:
        pytest.skip("no vectors; set DDTP_VECTORS")
    assert judge(CONSISTENT, steps) == [consistent(*each) for each in steps]
    assert judge(INCLUDED, leaves) == [included(*each) for each in leaves]
    assert len(steps) > 30
    assert len(leaves) > 30


def is_sayable(proof: Proof) -> bool:
    """Return whether a call of the contract can say it: hashes of 32 bytes, sizes of 64 bits."""
    flat = [each for part in proof for each in (part if isinstance(part, list) else [part])]
    return all(len(each) == 32 if isinstance(each, bytes) else 0 <= each < 2**64 for each in flat)
