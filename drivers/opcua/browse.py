"""`hub-gateway browse`: what a server has, for the person who writes the config."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Quality, Reason
from drivers.opcua.address import Address, parse_address
from drivers.opcua.reach import add_security, add_state, add_timeout, endpoint, security, state_folder

if TYPE_CHECKING:
    from drivers.opcua.client import Access
    from drivers.opcua.link import Link
    from drivers.opcua.tree import Branch

_OK = 0
_LONGEST_VALUE = 60
_MOST_ELEMENTS = 64
"""Of one array among the points; who wants more of them knows how they go on."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.:-]+")
_LONGEST_NAME = 128
_DEEPEST = 100


def add_arguments(parser: ArgumentParser) -> None:
    """As `drivers.contract.ToolModule.add_arguments`."""
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("url", type=endpoint, metavar="URL", help="opc.tcp://host:4840")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--points", action="store_true", help="print every variable as a line for the config")
    what.add_argument("--endpoints", action="store_true", help="print which urls, policies and logins it offers")
    parser.add_argument(
        "--from", dest="start", type=_address, default="i=85", metavar="ADDRESS", help="default: the folder Objects"
    )
    parser.add_argument("--depth", type=_depth, default=8, metavar="N", help="levels below that (default 8)")
    add_security(parser)
    add_state(parser)
    add_timeout(parser)


def run(options: Namespace) -> int:
    """As `drivers.contract.ToolModule.run`."""
    from drivers.opcua.client import Access  # noqa: PLC0415  loads asyncua

    try:
        access = Access(options.url, security(options), state_folder(options), options.timeout)
    except ValueError as error:
        options.refuse(str(error))
    asyncio.run(_endpoints(access) if options.endpoints else _browse(access, options))
    return _OK


async def _endpoints(access: Access) -> None:
    from drivers.opcua.client import endpoints_of, security_of  # noqa: PLC0415

    for offer in await endpoints_of(access):
        logins = dict.fromkeys(token.TokenType.name for token in offer.UserIdentityTokens)
        print(f"{offer.EndpointUrl}  {security_of(offer)}  login: {', '.join(logins)}")


async def _browse(access: Access, options: Namespace) -> None:
    from drivers.opcua.link import open_link  # noqa: PLC0415
    from drivers.opcua.resolve import resolve  # noqa: PLC0415
    from drivers.opcua.tree import Branch, grow  # noqa: PLC0415

    async with open_link(access) as link:
        try:
            node = (await resolve(link, [options.start]))[options.start]
            if isinstance(node, Quality):
                raise DeviceUnavailable(
                    f"{access.name}: {options.start} leads nowhere: {node.reason}",
                    reason=Reason.ILLEGAL_ADDRESS,
                    hint=f"its namespaces are {', '.join(link.namespaces)}",
                )
            root = Branch(node, str(options.start))
            if options.points:
                await _learn_types(link)
            await grow(link, root, depth=options.depth, progress=_show_progress)
        except BadResponse as error:
            raise DeviceUnavailable(error.message, reason=error.reason, hint=error.hint) from error
        finally:
            _show_progress(0)
        print(*(_points(root, link.namespaces) if options.points else _lines(root, link.namespaces)), sep="\n")


async def _learn_types(link: Link) -> None:
    """So that fields of structures have names. A server that does not tell them has the rest printed."""
    try:
        await link.load_types()
    except BadResponse as error:
        print(f"structures are left out: {error}", file=sys.stderr)


def _lines(root: Branch, namespaces: Sequence[str], indent: str = "") -> Iterator[str]:
    """The tree, a node a line."""
    from drivers.opcua.tree import SERVER  # noqa: PLC0415

    if not indent:
        yield root.name
    for branch in root.branches:
        text = f"{indent}  {branch.name}  [{branch.address(namespaces)}]"
        if branch.data is not None:
            text += f"  {_type(branch.data)} = {_text(branch.data)}"
        if branch.shown_elsewhere:
            text += "  (shown above)"
        elif branch.node == SERVER and not branch.branches:
            text += f"  (not shown; --from {branch.address(namespaces)})"
        yield text
        yield from _lines(branch, namespaces, indent + "  ")


def _points(root: Branch, namespaces: Sequence[str]) -> Iterator[str]:
    """Lines for `points:` in a config. Names are unique."""
    taken: set[str] = set()
    for path, branch, unit in _variables(root, ()):
        for part in _parts(branch):
            words = ".".join(path) + re.sub(r"\[(\d+)\]|\.", r".\1", f".{part}" if part else "")
            plain = _NOT_IN_A_NAME.sub("_", words.replace("..", ".")).strip("_.:-")[:_LONGEST_NAME]
            name, number = plain or "point", 2
            while name in taken:
                suffix = f"-{number}"
                name, number = (plain or "point")[: _LONGEST_NAME - len(suffix)] + suffix, number + 1
            taken.add(name)
            entry = {"name": name, "address": branch.address(namespaces), "part": part, "unit": unit}
            written = ", ".join(f"{key}: {_yaml(text)}" for key, text in entry.items() if text)
            yield f"- {{{written}}}"


def _variables(root: Branch, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Branch, str]]:
    """Every variable that is not a property, with the names that lead there and its unit."""
    for branch in root.branches:
        if branch.shown_elsewhere or branch.is_property:
            continue
        here = (*path, branch.name)
        if branch.is_variable:
            yield here, branch, _unit(branch)
        yield from _variables(branch, here)


def _unit(branch: Branch) -> str:
    """As its property EngineeringUnits has it (Part 8, 5.6.3)."""
    for each in branch.branches:
        if each.is_property and each.name == "EngineeringUnits" and each.data is not None and each.data.Value:
            name = getattr(each.data.Value.Value, "DisplayName", None)
            return str(name.Text or "") if name is not None else ""
    return ""


def _parts(branch: Branch) -> list[str]:
    """What of its value a point can be: the whole, or the scalars in an array or a structure."""
    from drivers.opcua.address import part_text  # noqa: PLC0415
    from drivers.opcua.value import NOT_A_SCALAR, judge  # noqa: PLC0415

    if branch.data is None or judge(branch.data, ())[1] != NOT_A_SCALAR:
        return [""]

    def below(part: tuple[int | str, ...], value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for index, each in enumerate(value[:_MOST_ELEMENTS]):
                yield from below((*part, index), each)
        elif judge(branch_data, part)[1] == NOT_A_SCALAR:
            for name in getattr(type(value), "__dataclass_fields__", ()):
                if name not in ("Encoding", "TypeId", "Body", "data_type"):
                    yield from below((*part, name), getattr(value, name))
        else:
            yield part_text(part)

    branch_data = branch.data
    return list(below((), branch.data.Value.Value if branch.data.Value is not None else None))


def _type(data: Any) -> str:
    if data.Value is None:
        return "Null"
    value, kind = data.Value.Value, data.Value.VariantType.name
    if kind == "ExtensionObject":
        first = value[0] if isinstance(value, list) and value else value
        kind = type(first).__name__
    return f"{kind}[{len(value)}]" if isinstance(value, list) else str(kind)


def _text(data: Any) -> str:
    from drivers.opcua.value import NOT_A_SCALAR, judge  # noqa: PLC0415

    value, quality = judge(data, ())
    if quality == NOT_A_SCALAR:
        text = str(data.Value.Value)
    else:
        text = repr(value) if quality is None else f"{value!r} ({quality})" if value is not None else str(quality)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _yaml(text: str) -> str:
    """Plain where YAML leaves it alone in braces, else quoted; a JSON string is one of YAML's."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and text.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
    )
    return text if plain else json.dumps(text, ensure_ascii=False)


def _show_progress(nodes: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{f'{nodes} nodes' if nodes else ''}", end="", file=sys.stderr, flush=True)


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _depth(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _DEEPEST):
        raise ArgumentTypeError(f'"{text}" is not a depth; they are 1 to {_DEEPEST}')
    return int(text)
