"""Run by itself: sllurp inventories a reader and prints what its callbacks get, one JSON object a line.

    python sllurp_client.py PORT '{"antennas": [1, 2], …}'    the keys are those of sllurp's LLRPReaderConfig

It ends when its standard input does, after a polite disconnect; then it prints `{"alive": …}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from sllurp.llrp import LLRPReaderClient, LLRPReaderConfig, LLRPReaderState


def show(**found: Any) -> None:
    line = json.dumps(found, default=lambda value: value.decode() if isinstance(value, bytes) else str(value))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(port: str, settings: str) -> None:
    client = LLRPReaderClient("127.0.0.1", int(port), LLRPReaderConfig(json.loads(settings)))
    client.add_tag_report_callback(lambda _, tags: show(tags=tags))
    client.add_event_callback(lambda _, event: show(event=event))
    client.add_state_callback(
        LLRPReaderState.STATE_INVENTORYING,
        lambda reader, _: show(capabilities=reader.llrp.capabilities, config=reader.llrp.reader_config),
    )
    client.connect()
    sys.stdin.read()
    client.disconnect()
    client.join(5)
    show(alive=client.is_alive())


if __name__ == "__main__":
    main(*sys.argv[1:])
