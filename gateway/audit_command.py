"""`hub-gateway audit`: listen to a broker and prove that nothing is missing.

On the gateway's own machine, with its config, gaps are looked up in the buffer: a position that waits, was set aside
or was dropped is accounted for.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum, auto

import orjson

from gateway.audit import EpochVerdict, Ledger, Verdict, listening
from gateway.audit.book import STALE_S, Account, Fates, look_up, read_book
from gateway.audit.ledger import GRACE_S
from gateway.audit.verdict import Span
from gateway.audit_options import Audit
from gateway.buffer.ranges import Ranges

_SPANS_TOLD = 20
_HEADINGS = ("device", "readings", "live", "history", "twice", "contradict", "disorder", "first id", "last id", "age")


class Outcome(Enum):
    """What the audit has found."""

    COMPLETE = auto()
    INCOMPLETE = auto()
    UNPROVEN = auto()
    """Nothing was heard, something may still come, or there was a time when nothing could be heard: a gap may be the
    audit's own."""


def run_audit(what: Audit, *, for_s: float | None, as_json: bool) -> Outcome:
    """Listen until SIGINT, SIGTERM or `for_s` seconds have passed, then print the verdict.

    Raises OSError when the broker cannot be reached or refuses, `BufferUnavailable` when there is no buffer to read.
    """
    ledger = Ledger()
    fates = asyncio.run(_listen(what, ledger, for_s))
    verdict = ledger.verdict()
    accounts = {} if fates is None else accounts_of(fates, verdict)
    if as_json:
        print(orjson.dumps(_as_json(verdict, ledger, accounts)).decode())
    else:
        _print(verdict, ledger, accounts)
    return outcome(verdict, ledger, accounts)


def outcome(verdict: Verdict, ledger: Ledger, accounts: dict[str, Account]) -> Outcome:
    """By epoch, `accounts` has what the buffer says of its gaps."""
    if any(one.contradicting for one in verdict.epochs):
        return Outcome.INCOMPLETE
    if not verdict.readings or ledger.cut_off or ledger.forgotten:
        return Outcome.UNPROVEN
    if any(_are_unaccounted(one.missing, accounts.get(one.epoch)) for one in verdict.epochs):
        return Outcome.INCOMPLETE
    return Outcome.UNPROVEN if verdict.unheard or _may_come(verdict, accounts) else Outcome.COMPLETE


def _may_come(verdict: Verdict, accounts: dict[str, Account]) -> bool:
    return any(_are_unaccounted(one.open, accounts.get(one.epoch)) for one in verdict.epochs)


def _are_unaccounted(spans: Sequence[Span], found: Account | None) -> bool:
    if found is None:
        return bool(spans)
    left = Ranges(found.unaccounted)
    return any(left.count_within(*span) for span in spans)


def accounts_of(fates: Fates, verdict: Verdict) -> dict[str, Account]:
    """By epoch, for that of the buffer: what became of its gaps."""
    return {one.epoch: fates.account((*one.missing, *one.open)) for one in verdict.epochs if one.epoch == fates.epoch}


async def _listen(what: Audit, ledger: Ledger, for_s: float | None) -> Fates | None:
    """Keep the ledger; what the buffer says at the end, if it is at hand. It is asked while everything is still heard:
    what it holds no longer has been acknowledged by the broker, and so is heard before the end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began_s = time.monotonic()
    async with listening(what.destination, what.topics, ledger=ledger):
        if what.buffer is not None:
            await _passed(stop, STALE_S)
            book = await asyncio.to_thread(read_book, what.buffer, what.destination.name)
            ledger.expect(book.epoch, book.pending, after=book.last_position)
        while not stop.is_set() and (for_s is None or time.monotonic() - began_s < for_s):
            await _passed(stop, 1.0 if for_s is None else min(1.0, max(0.0, began_s + for_s - time.monotonic())))
            _progress(ledger, time.monotonic() - began_s)
        deadline_s = time.monotonic() + GRACE_S
        while not stop.is_set() and any(one.open for one in ledger.verdict().epochs) and time.monotonic() < deadline_s:
            await _passed(stop, 0.2)
        fates = None
        if what.buffer is not None:
            fates = await asyncio.to_thread(look_up, what.buffer, what.destination.name)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return fates


async def _passed(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _progress(ledger: Ledger, passed_s: float) -> None:
    if not sys.stderr.isatty():
        return
    verdict = ledger.verdict()
    missing = sum(one.missing_count for one in verdict.epochs)
    open_ = sum(one.open_count for one in verdict.epochs)
    twice = sum(one.duplicates for one in verdict.epochs)
    text = (
        f"{passed_s:.0f} s: {verdict.readings} readings of {len(verdict.devices)} devices, "
        f"{missing} missing, {open_} open, {twice} twice"
    )
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _print(verdict: Verdict, ledger: Ledger, accounts: dict[str, Account]) -> None:
    for epoch in verdict.epochs:
        _print_epoch(epoch, accounts.get(epoch.epoch))
    _print_doubts(verdict, ledger, accounts)
    if not verdict.readings:
        print("no reading has arrived")
        return
    _print_devices(verdict)


def _print_doubts(verdict: Verdict, ledger: Ledger, accounts: dict[str, Account]) -> None:
    if ledger.interruptions:
        lost = f", {ledger.forgotten} times the broker kept nothing meanwhile" if ledger.forgotten else ""
        print(f"the connection of the audit itself was interrupted {ledger.interruptions} times{lost}")
    if ledger.cut_off:
        print("nothing is proved: at the end the broker did not answer")
    elif ledger.forgotten:
        print("nothing is proved: readings may have come while the broker kept nothing")
    elif _may_come(verdict, accounts):
        print("it is not proved that all is there: what is open may still come; listen until it has")
    for unheard in verdict.unheard:
        print(
            f"nothing is proved: nothing has come of epoch {unheard}, which is the buffer's; is its gateway connected?"
        )
    if verdict.foreign:
        print(f"{verdict.foreign} messages were neither readings nor a gateway's status")
    if verdict.retained:
        print(
            f"{verdict.retained} messages had been kept by the broker (retained), which says nothing of now: not judged"
        )


def _print_devices(verdict: Verdict) -> None:
    now_ms = time.time() * 1e3
    names = Counter(one.device for one in verdict.devices)
    rows = [
        (
            one.device if names[one.device] == 1 else one.topic,
            str(one.readings), str(one.live), str(one.historical), str(one.duplicates),
            str(one.contradictions), str(one.out_of_order), one.first_id, one.last_id,
            f"{(now_ms - one.last_ts_ms) / 1e3:.1f} s",
        )
        for one in verdict.devices
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(len(_HEADINGS))]
    print()
    for row in (_HEADINGS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_epoch(one: EpochVerdict, found: Account | None) -> None:
    print(f"{one.gateway}, epoch {one.epoch}")
    if one.last >= one.first:
        print(f"  judged       positions {one.first} to {one.last}")
    print(f"  received     {one.readings}, {one.duplicates} of them twice, {one.connections} connections begun")
    if one.earlier:
        print(f"  not judged   {one.earlier} from before the audit")
    print(f"  missing      {one.missing_count}{_told(one.missing)}")
    if one.open:
        print(f"  open         {one.open_count}, may still come{_told(one.open)}")
    if found is not None and (one.missing or one.open):
        skipped = f", {found.skipped} skipped after a power cut" if found.skipped else ""
        print(f"    of these   {found.waiting} wait, {found.set_aside} set aside, {found.dropped} dropped{skipped}")
        print(f"  unaccounted  {found.unaccounted_count}{_told(found.unaccounted)}")
    if one.contradicting:
        print(f"  contradict   {one.contradicting}: {', '.join(one.contradictions)}")


def _told(spans: Sequence[Span]) -> str:
    """The first of them, in words."""
    if not spans:
        return ""
    words = [str(first) if first == last else f"{first} to {last}" for first, last in spans[:_SPANS_TOLD]]
    more = f" and {len(spans) - _SPANS_TOLD} more gaps" if len(spans) > _SPANS_TOLD else ""
    return f": {', '.join(words)}{more}"


def _as_json(verdict: Verdict, ledger: Ledger, accounts: dict[str, Account]) -> dict[str, object]:
    epochs: list[dict[str, object]] = []
    for one in verdict.epochs:
        about = asdict(one) | {
            "missing": one.missing_count,
            "missing_spans": one.missing[:_SPANS_TOLD],
            "open": one.open_count,
            "open_spans": one.open[:_SPANS_TOLD],
        }
        found = accounts.get(one.epoch)
        if found is not None:
            about["account"] = asdict(found) | {
                "unaccounted": found.unaccounted_count,
                "unaccounted_spans": found.unaccounted[:_SPANS_TOLD],
            }
        epochs.append(about)
    return {
        "epochs": epochs,
        "devices": [asdict(one) for one in verdict.devices],
        "unheard": verdict.unheard,
        "foreign": verdict.foreign,
        "retained": verdict.retained,
        "interruptions": ledger.interruptions,
        "forgotten": ledger.forgotten,
        "cut_off": ledger.cut_off,
    }
