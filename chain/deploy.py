"""Putting the contract of the anchors on a chain, and admitting its operators (spec/anchor.md)."""

from collections.abc import Sequence

from chain import evm
from chain.evm import Account
from chain.nodes import Nodes
from ddtp.errors import TrustError, Unanswered
from ddtp.network import Anchor


async def deploy(
    nodes: Nodes, account: Account, *, depth: int, seconds: float = evm.WAIT_SECONDS
) -> Anchor:
    """Make the contract and return its place, for the network statement.

    The account is then its admin, who admits operators, until he hands that over.

    Args:
        depth: How many blocks later a block is final; 0 where blocks are final at once.

    Raises:
        TrustError: anchor.3, other code stands there than was sent.
        Unanswered: anchor.1, anchor.2, anchor.7.
    """
    chain, genesis = await evm.identity(nodes)
    nonce = await account.next(nodes)
    bytecode = f"0x{evm.contract()['bytecode']}"
    raw, name = account.sign(chain, nonce, None, bytecode)

    async def made() -> bytes | None:
        # Not every chain computes a contract's address as Ethereum does: the receipt says it.
        receipts = (await nodes.each("eth_getTransactionReceipt", name)).values()
        found = {each.get("contractAddress") for each in receipts if isinstance(each, dict)}
        if len(found) > 1:
            raise Unanswered("anchor.2", f"the contract of {name} is at several addresses")
        return evm.bytes_of(found.pop()) if found else None

    address = await evm.until(nodes, raw, made, seconds)
    code = await evm.code_hash(nodes, address)
    if code.hex() != evm.contract()["codeHash"]:
        raise TrustError("anchor.3", f"another contract at {evm.text_of(address)}, or none")
    return Anchor(chain=chain, genesis=genesis, contract=address, code=code, depth=depth)


async def admit(
    nodes: Nodes,
    account: Account,
    place: Anchor,
    operators: Sequence[bytes],
    *,
    seconds: float = evm.WAIT_SECONDS,
) -> None:
    """Admit operators, by their addresses of 20 bytes; only the contract's admin can.

    Raises:
        TrustError: anchor.6, the account is not the admin.
        Unanswered: anchor.1, anchor.2, anchor.7.
    """
    (admin,) = await evm.read(nodes, place.contract, ["address"], "admin")
    if evm.bytes_of(admin) != account.address:
        raise TrustError("anchor.6", f"the contract's admin is {admin}")
    for operator in operators:

        async def is_admitted(address: bytes = operator) -> bool:
            (admitted,) = await evm.read(nodes, place.contract, ["bool"], "operators", address)
            return bool(admitted)

        if not await is_admitted():
            data = evm.call("admit", operator, True)
            await evm.carry_out(nodes, account, place, data, is_admitted, seconds)


async def offer(
    nodes: Nodes,
    account: Account,
    place: Anchor,
    admin: bytes,
    *,
    seconds: float = evm.WAIT_SECONDS,
) -> None:
    """Offer the admin's place to an address, such as that of a committee's contract.

    Raises:
        Unanswered: anchor.1, anchor.2, anchor.7.
    """

    async def is_offered() -> bool:
        (offered,) = await evm.read(nodes, place.contract, ["address"], "offered")
        return evm.bytes_of(offered) == admin

    await evm.carry_out(nodes, account, place, evm.call("offer", admin), is_offered, seconds)
