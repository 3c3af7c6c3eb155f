"""How `ddtp wallet` ends: the result of a command, for people and as one JSON document."""

from collections.abc import Sequence
from pathlib import Path

from ddtp import network
from ddtp.cli import console, exits, files, print_err, safe
from ddtp.network import Level
from ddtp.receipt import Erasure, Receipt
from ddtp.transfer import State
from ddtp.words import moment
from ddtp.words.verdict import explain
from holder import lines
from holder.collect import Arrived
from holder.history import Transfer
from holder.keys import Keys
from holder.kit import Kit
from holder.refresh import Refreshed, Seen
from holder.sheet import names_in


def show_words(made: Keys, words_file: Path | None) -> None:
    """Show the recovery words on the terminal, or write them into a file for their owner."""
    each = made.words().split()
    if words_file is not None:
        rows = (" ".join(each[n : n + 6]) for n in range(0, len(each), 6))
        files.write_secret(words_file, ("\n".join(rows) + "\n").encode())
        return
    print_err(console().say("wallet.your_words"))
    for n in range(0, len(each), 4):
        print_err("  ".join(f"{i + 1:>2} {each[i]:<10}" for i in range(n, n + 4)))


def print_made(home: Path, vault: Path, words_file: Path | None, data: bytes) -> None:
    """Print where a new wallet is, and which network it trusts."""
    statements = network.decode_file(data)
    trusted = network.walk(network.first(statements[0]), statements)
    said = [
        console().say("wallet.made", home=home, vault=vault),
        console().say("wallet.network", fingerprint=trusted.name.text),
    ]
    if words_file is not None:
        said.append(console().say("wallet.words_in", file=words_file))
    said.append("ddtp wallet collect LINK")
    console().result(
        {
            "schema": "ddtp.wallet.init/1",
            "home": str(home),
            "vault": str(vault),
            "words_file": None if words_file is None else str(words_file),
            "network": trusted.name.text,
            "network_version": trusted.version,
        },
        "\n".join(said),
    )


def print_kit(schema: str, found: Kit, home: Path | None, vault: Path) -> int:
    """Print what came back from words and vault, or would; return the exit code.

    Args:
        home: Of the wallet that was made or mended; None when it was only looked at.
    """
    said = [
        console().say(
            "wallet.kit",
            packages=len(found.packages),
            documents=found.documents,
            transfers=len(found.transfers),
        )
    ]
    said += [console().say("wallet.kit_damaged", file=safe(each)) for each in found.damaged]
    if found.gone:
        said.append(console().say("wallet.kit_gone", count=found.gone))
    if found.strange:
        said.append(console().say("wallet.kit_strange", count=found.strange))
    if home is None:
        said.append(console().say("wallet.kit_passed" if found.whole else "wallet.kit_failed"))
    else:
        said.append(console().say("wallet.made", home=home, vault=vault))
    console().result(
        {
            "schema": schema,
            "checked_only": home is None,
            "home": None if home is None else str(home),
            "vault": str(vault),
            "packages": len(found.packages),
            "transfers": len(found.transfers),
            "documents": found.documents,
            "damaged": found.damaged,
            "documents_gone": found.gone,
            "bound_to_others": found.strange,
            "index_whole": found.index,
        },
        "\n".join(said),
    )
    return exits.OK if found.whole else exits.STORAGE


def print_arrived(arrived: Arrived, known: network.Network) -> int:
    """Print a package that came and what checking it gave; return the exit code."""
    language = console().language
    explained = explain(arrived.verdict, language)
    row, names = arrived.row, names_in(known, language)
    console().result(
        {
            "schema": "ddtp.wallet.added/1",
            **lines.package_fields(arrived.id, row),
            "checks": [
                {"rule": check.rule, "result": check.result.value, "broken": check.broken}
                for check in arrived.verdict.checks
            ],
        },
        f"{console().say('wallet.added')}  {lines.package_line(arrived.id, row, language, names)}\n"
        f"{lines.withdrawal_text(row, language)}"
        f"{explained.headline}",
    )
    return exits.of_outcome(arrived.verdict.outcome)


def print_refreshed(refreshed: Sequence[Refreshed], known: network.Network) -> int:
    """Print how records are proven now and what changed; return the exit code."""
    language = console().language
    names = names_in(known, language)
    text = "\n".join(
        f"{lines.package_line(each.id, each.row, language, names)}\n"
        f"  {_renewal(each)}\n"
        f"{lines.withdrawal_text(each.row, language)}".rstrip()
        for each in refreshed
    )
    console().result(
        {
            "schema": "ddtp.wallet.refresh/1",
            "packages": [
                {
                    **lines.package_fields(each.id, each.row),
                    "checked": each.problem is None,
                    "problem": None if each.problem is None else each.problem.rule,
                    "was": _proven_fields(each.before),
                    "is": _proven_fields(each.after),
                }
                for each in refreshed
            ],
        },
        text or console().say("wallet.nothing_held"),
    )
    return exits.OK if all(each.problem is None for each in refreshed) else exits.UNDECIDED


def _renewal(each: Refreshed) -> str:
    """Return what changed of one record, in words."""
    say, before, after = console().say, each.before, each.after
    if each.problem is not None:
        return say("wallet.refresh_failed", rule=each.problem.rule)
    if after is None:
        return say("wallet.refresh_none")
    said = []
    if before is None or _firmness(before) != _firmness(after):
        was = say("wallet.level_none" if before is None else f"wallet.level_{_firmness(before)}")
        level = say(f"wallet.level_{_firmness(after)}")
        said.append(say("wallet.refresh_level", before=was, after=level))
    if before is None or before.as_of < after.as_of:
        said.append(say("wallet.refresh_status", at=lines.stamp(after.as_of)))
    state = lines.state_of(each.row)
    if lines.state_of(each.old) != state:
        said.append(say("wallet.refresh_state", state=say(f"wallet.{state}")))
    return "; ".join(said) or say("wallet.refresh_same", at=lines.stamp(after.as_of))


def _firmness(seen: Seen) -> str:
    """Return the level in a word; an anchor that was not read is one that is told of."""
    told = seen.anchor is not None and seen.level is not Level.ANCHORED
    return "told" if told else seen.level.name.lower()


def _proven_fields(seen: Seen | None) -> dict[str, object] | None:
    if seen is None:
        return None
    return {
        "level": seen.level.name.lower(),
        "anchor": None if seen.anchor is None else seen.anchor.sequence,
        "as_of": lines.stamp(seen.as_of),
    }


def print_shared(kept: Transfer, name: str) -> int:
    """Print what became of a transfer; return the exit code."""
    row = kept.row()
    fields = {
        "schema": "ddtp.wallet.share/1",
        "transfer": kept.id,
        **lines.transfer_fields(kept.id, row),
        "link": kept.link,
    }
    if kept.state is State.VERIFIED:
        text = console().say("wallet.sent_verified", name=safe(name), id=kept.id[: lines.SHORT])
        if kept.link is not None:
            text += "\n" + console().say("wallet.return_link", link=safe(kept.link))
    elif kept.state is State.DECLINED:
        text = console().say("wallet.not_now")
    elif kept.state is State.NOT_VERIFIED and kept.receipt is not None:
        reasons = ", ".join(Receipt.open(kept.receipt).reasons)
        text = console().say("wallet.sent_not_verified", name=safe(name), reasons=safe(reasons))
    else:
        text = console().say(f"wallet.state_{kept.state.value}")
    console().result(fields, text)
    return exits.OK if kept.state is State.VERIFIED else exits.NEGATIVE


def print_carried(kept: Transfer, written: list[Path], name: str) -> int:
    """Print which files carry an answer, and what to do with them."""
    files = [safe(str(each)) for each in written]
    console().result(
        {
            "schema": "ddtp.wallet.share/1",
            "transfer": kept.id,
            **lines.transfer_fields(kept.id, kept.row()),
            "files": [str(each) for each in written],
        },
        "\n".join([*files, console().say("wallet.carried", name=safe(name))]),
    )
    return exits.OK


def print_withdrawn(done: list[Transfer] | None, known: network.Network) -> int:
    """Print what was withdrawn, what was erased, and what is kept by which law.

    Args:
        done: None when the holder said no; the exit code tells it.
    """
    nothing = "wallet.nothing_changed" if done is None else "wallet.nothing_to_withdraw"
    said, names = [], names_in(known, console().language)
    for each in done or ():
        erasures = [Erasure.open(data) for data in each.erasures]
        erased = sorted({what for erasure in erasures for what in erasure.erased})
        name = safe(names.get(each.asked.issuer, each.asked.issuer))
        said.append(console().say("wallet.withdrawn", name=name, erased=safe(", ".join(erased))))
        said += [
            console().say(
                "wallet.kept",
                name=name,
                what=safe(kept.what),
                until=moment(kept.until),
                law=safe(kept.law),
            )
            for kept in {kept for erasure in erasures for kept in erasure.kept}
        ]
    console().result(
        {
            "schema": "ddtp.wallet.withdraw/1",
            "transfers": [lines.transfer_fields(each.id, each.row()) for each in done or ()],
        },
        "\n".join(said) or console().say(nothing),
    )
    return exits.OK if done is not None else exits.NEGATIVE
