"""On which topics commands come and answers go. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_DEVICE = "{device}"


class Address(NamedTuple):
    """The point that a command is for, as its topic names it; there need not be one."""

    device: str
    point: str


class Topics:
    """The topics of one destination: below those on which it publishes readings.

    `template` is the `topic:` of the config file. `names_gateway` says whether no other gateway has the same topics.
    """

    def __init__(self, template: str, *, site: str, gateway: str) -> None:
        self.names_gateway = "{gateway}" in template
        levels = [
            level.replace("{site}", site).replace("{gateway}", gateway) if _DEVICE not in level else level
            for level in template.split("/")
        ]
        self.filter = "/".join([*("+" if _DEVICE in level else level for level in levels), "set", "+"])
        """What to subscribe to: the commands for every device, whichever there are."""
        first, *more = template.replace("{site}", site).replace("{gateway}", gateway).split(_DEVICE)
        again = "".join(f"(?P=device){re.escape(part)}" for part in more[1:])
        own = f"{re.escape(first)}(?P<device>[^/]+){re.escape(more[0])}{again}"
        self._command = re.compile(f"{own}/set/(?P<point>[^/]+)")
        self._own = re.compile(rf"{own}(/set/[^/]+)?|{re.escape(f'hub/{site}/{gateway}/status')}")

    def address(self, topic: str) -> Address | None:
        """The point that a command on `topic` is for; None when it is not for this gateway."""
        match = self._command.fullmatch(topic)
        return Address(match["device"], match["point"]) if match else None

    def answer(self, topic: str, response_topic: str | None) -> str | None:
        """Where the answer to a command on `topic` goes: where its sender wants it, else below the command's topic.

        None when nothing may be published there: it is no topic name (MQTT 5.0, 3.3.2.3.5), belongs to the broker, or
        has a meaning of its own, as those have on which this gateway takes commands and publishes.
        """
        if response_topic is None:
            return f"{topic}/result"
        if not response_topic or response_topic.startswith("$") or set("+#\0") & set(response_topic):
            return None
        return None if self._own.fullmatch(response_topic) else response_topic
