// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The anchors of a network's logs (spec/anchor.md)
/// @notice Keeps the heads of append-only logs by sequence, and takes a head only with the proof
/// that the log continues the head before. It sees sizes and roots of trees, and no entry.
/// @dev SHA-256 only, so that chains with another hash of their own agree; nothing depends on
/// events or timestamps, since not every chain gives them as others do.
contract Registry {
    /// @notice One log: who may anchor it, how many heads it has and the size of the newest (in one
    /// word of storage, which is what anchoring costs), and the key that signs them.
    struct Log {
        address owner;
        uint32 count;
        uint64 size;
        bytes32 key;
    }

    /// @notice One head: root and size of the log's tree, and the block that brought it here.
    struct Head {
        bytes32 root;
        uint64 size;
        uint64 number;
    }

    uint256 public constant MOST_IN_A_PAGE = 256;

    /// @notice Who admits operators; meant to be a contract by which a committee decides.
    address public admin;
    /// @notice To whom the admin has offered his place.
    address public offered;
    mapping(address => bool) public operators;
    mapping(bytes32 => Log) public logs;
    mapping(bytes32 => mapping(uint32 => Head)) private heads;
    bytes32[] private ids;

    error NotAdmin();
    error NotAdmitted();
    error NotOwner();
    error AlreadyOpen();
    error WrongSequence(uint32 count);
    error NotNewer(uint64 size);
    error WrongProof();

    constructor() {
        admin = msg.sender;
    }

    modifier onlyAdmin() {
        if (msg.sender != admin) revert NotAdmin();
        _;
    }

    // Roles.

    /// @notice Offer the admin's place; it changes hands when `next` accepts.
    function offer(address next) external onlyAdmin {
        offered = next;
    }

    /// @notice Take the admin's place that was offered.
    function accept() external {
        if (msg.sender != offered) revert NotAdmin();
        admin = msg.sender;
        offered = address(0);
    }

    /// @notice Admit an operator, or suspend it.
    function admit(address operator, bool admitted) external onlyAdmin {
        operators[operator] = admitted;
    }

    /// @notice Give a log to another owner, as after the loss of a key; its heads stay.
    function give(bytes32 id, address owner) external onlyAdmin {
        if (logs[id].owner == address(0)) revert NotOwner();
        logs[id].owner = owner;
    }

    // Logs and their heads.

    /// @notice Open a log, whose owner is then the sender.
    /// @param origin Its name, the first line of its checkpoints.
    /// @param key The Ed25519 public key that signs them.
    function open(string calldata origin, bytes32 key) external {
        if (!operators[msg.sender]) revert NotAdmitted();
        bytes32 id = idOf(origin, key);
        if (logs[id].owner != address(0)) revert AlreadyOpen();
        logs[id] = Log(msg.sender, 0, 0, key);
        ids.push(id);
    }

    /// @notice Anchor the next head of a log.
    /// @param sequence One more than the number of heads that are here: two writers cannot both win.
    /// @param size Number of entries, more than in the head before.
    /// @param root Root of the tree of these entries.
    /// @param proof Consistency proof from the head before; empty for the first head.
    function anchor(bytes32 id, uint32 sequence, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        Log storage log = logs[id];
        (address owner, uint32 count, uint64 before) = (log.owner, log.count, log.size);
        if (owner != msg.sender) revert NotOwner();
        if (!operators[owner]) revert NotAdmitted();
        if (sequence != count + 1) revert WrongSequence(count);
        if (size <= before) revert NotNewer(before);
        bytes32 rootBefore = heads[id][count].root;
        if (!_continues(before, size, rootBefore, root, proof)) revert WrongProof();
        log.count = sequence;
        log.size = size;
        heads[id][sequence] = Head(root, size, uint64(block.number));
    }

    // What is here, by number: no events need to be searched.

    /// @notice Return the id of a log, of which the first four bytes are the key hash in its notes.
    function idOf(string calldata origin, bytes32 key) public pure returns (bytes32) {
        return sha256(abi.encodePacked(origin, hex"0a01", key));
    }

    /// @notice Return how many logs there are.
    function logCount() external view returns (uint256) {
        return ids.length;
    }

    /// @notice Return the ids of logs in the order of their opening, from `first` on (counted from 0).
    function logPage(uint256 first, uint256 most) external view returns (bytes32[] memory page) {
        page = new bytes32[](_inPage(first, most, ids.length));
        for (uint256 i = 0; i < page.length; i++) page[i] = ids[first + i];
    }

    /// @notice Return a head by its sequence, counted from 1; size 0 where there is none.
    function head(bytes32 id, uint32 sequence) external view returns (Head memory) {
        return heads[id][sequence];
    }

    /// @notice Return the heads of a log from the sequence `first` on.
    function headPage(bytes32 id, uint32 first, uint32 most) external view returns (Head[] memory page) {
        page = new Head[](first == 0 ? 0 : _inPage(first, most, uint256(logs[id].count) + 1));
        for (uint32 i = 0; i < page.length; i++) page[i] = heads[id][first + i];
    }

    // Proofs, as in RFC 9162 sections 2.1.3.2 and 2.1.4.2.

    /// @notice Say whether an anchored head of a log proves an entry; for contracts and courts.
    /// @param leaf The entry as registered, not its hash.
    function verifyInclusion(
        bytes32 id,
        uint32 sequence,
        uint64 index,
        bytes calldata leaf,
        bytes32[] calldata path
    ) external view returns (bool) {
        Head storage found = heads[id][sequence];
        return isIncluded(index, found.size, sha256(abi.encodePacked(hex"00", leaf)), path, found.root);
    }

    /// @notice Say whether a path leads from the hash of a leaf to a root.
    function isIncluded(uint64 index, uint64 size, bytes32 leaf, bytes32[] calldata path, bytes32 root)
        public
        view
        returns (bool)
    {
        if (index >= size || size >> 63 != 0) return false;
        (bool whole, bytes32 found,) = _climb(leaf, index, size - 1, path);
        return whole && found == root;
    }

    /// @notice Say whether a path shows the tree of `old` leaves to begin that of `size` leaves.
    function isConsistent(uint64 old, uint64 size, bytes32[] calldata path, bytes32 oldRoot, bytes32 root)
        public
        view
        returns (bool)
    {
        if (old == 0 || old > size || size >> 63 != 0) return false;
        if (old == size) return path.length == 0 && oldRoot == root;
        // The way begins at the old tree's last perfect subtree.
        uint256 index = old;
        uint256 last = size - 1;
        for (; index & 1 == 0; index >>= 1) last >>= 1;
        index -= 1;
        bytes32 start = oldRoot;
        if (index != 0) {
            if (path.length == 0) return false;
            start = path[0];
            path = path[1:];
        }
        (bool whole, bytes32 found, bytes32 oldFound) = _climb(start, index, last, path);
        return whole && found == root && oldFound == oldRoot;
    }

    /// @dev Return where a path leads, and where its left siblings lead, which are all that an older
    /// tree has of it; `whole` says that it has as many hashes as it needs. `last` is the last node
    /// on the level of the start. In assembly, since the hashes of some sixty nodes are most of what
    /// an anchor costs beyond its storage.
    function _climb(bytes32 start, uint256 index, uint256 last, bytes32[] calldata path)
        private
        view
        returns (bool whole, bytes32 found, bytes32 oldFound)
    {
        assembly ("memory-safe") {
            // A node is SHA-256 (the precompile at address 2) of 0x01, left and right: 65 bytes,
            // made beyond the memory that is in use.
            let node := mload(0x40)
            let left := add(node, 1)
            mstore8(node, 1)
            let next := path.offset
            let end := add(next, shl(5, path.length))
            found := start
            oldFound := start
            whole := 1
            for {} last {} {
                let odd := and(index, 1)
                if or(odd, lt(index, last)) {
                    if eq(next, end) {
                        whole := 0
                        break
                    }
                    let own := add(left, shl(5, odd))
                    mstore(own, found)
                    mstore(add(left, shl(5, xor(odd, 1))), calldataload(next))
                    whole := and(whole, staticcall(gas(), 2, node, 65, 0, 32))
                    found := mload(0)
                    if odd {
                        mstore(own, oldFound)
                        whole := and(whole, staticcall(gas(), 2, node, 65, 0, 32))
                        oldFound := mload(0)
                    }
                    next := add(next, 32)
                }
                index := shr(1, index)
                last := shr(1, last)
            }
            whole := and(whole, eq(next, end))
        }
    }

    function _continues(uint64 old, uint64 size, bytes32 oldRoot, bytes32 root, bytes32[] calldata proof)
        private
        view
        returns (bool)
    {
        return old == 0 ? size >> 63 == 0 && proof.length == 0 : isConsistent(old, size, proof, oldRoot, root);
    }

    function _inPage(uint256 first, uint256 most, uint256 end) private pure returns (uint256) {
        if (first >= end) return 0;
        uint256 there = end - first;
        if (most > MOST_IN_A_PAGE) most = MOST_IN_A_PAGE;
        return there < most ? there : most;
    }
}
