"""A log that appends until it is killed: `python -m tests.log_process FOLDER NETWORK NUMBER`.

It prints the index of each entry that was acknowledged, so that a test knows what must be there.
"""

import asyncio
import sys
import time
from pathlib import Path

from ddtp import entry, network
from ddtp.entry import Issued
from ddtp.fingerprint import Fingerprint
from ddtp.submission import Submission
from tests.builders import PROVIDER, PROVIDER_KEY, key
from tests.watch import Trusting, open_log


async def main(folder: Path, network_file: bytes, number: int) -> None:
    statements = network.decode_file(network_file)
    trust = Trusting(network.walk(network.first(statements[0]), statements))
    origin = f"log.example/{number}"
    log = await asyncio.to_thread(open_log, folder, origin, key(f"log {number}"), trust)
    count = 0
    while True:
        name = Fingerprint.of(f"{time.time_ns()} {count}".encode())
        asked = Submission(
            issuer=PROVIDER,
            key_id=PROVIDER_KEY.key_id,
            audience=origin,
            issued_at=int(time.time()),
            entries=(Issued(name, bytes(32), PROVIDER_KEY.key_id, entry.NOT_YET),),
        )
        (found,) = await log.submit(asked.sign(PROVIDER_KEY))
        sys.stdout.write(f"{found.registration.index}\n")
        sys.stdout.flush()
        count += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])))
