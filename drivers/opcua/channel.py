"""An open session on a server: reached, secured, logged in, kept alive, closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.crypto import security_policies

from drivers.contract import DeviceUnavailable
from drivers.opcua import cancellation, failure
from drivers.opcua.client import Access, abort, new_client, step
from drivers.opcua.secure import load_user, secure
from drivers.opcua.security import Mode, Policy

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_RENEW_AT = 0.75
"""Part 4, 5.5.2.1: a client asks for a new token after 75 % of the lifetime."""
_MOST_UNANSWERED = 3
"""Requests in a row. A single one says no more than that the network or the server had to pause."""


@dataclass(slots=True)
class Upkeep:
    """What keeps a session alive."""

    failure: DeviceUnavailable | None = None
    """Why it gave the session up."""


@asynccontextmanager
async def open_client(access: Access) -> AsyncIterator[tuple[Client, Upkeep]]:
    """A client with an activated session, kept alive for as long as the context lasts, then closed.

    Raises `DeviceUnavailable`.
    """
    client = new_client(access)
    own = ""
    upkeep = Upkeep()
    task: asyncio.Task[None] | None = None
    try:
        if access.security.policy is not Policy.NONE:
            own = await secure(client, access)
        if access.security.user_certificate is not None:
            await load_user(client, access)

        async def go(name: str, awaitable: Awaitable[_T]) -> _T:
            return await step(access, name, awaitable, own=own)

        await go("reaching it", client.connect_socket())
        await go("greeting it", client.send_hello())
        await go("opening a secure channel", client.open_secure_channel())
        await go("creating a session", client.create_session())
        _warn_of_plain_password(client, access)
        security = access.security
        password = None if security.password is None else security.password.get_secret_value()
        await go(
            "logging in",
            client.activate_session(security.user, password, client.user_certificate),
        )
        task = asyncio.create_task(_keep_up(client, access, upkeep), name=f"{access.endpoint} upkeep")
        yield client, upkeep
    finally:
        try:
            await _end(task)
            await _take_leave(client, access.timeout_s)
        finally:
            abort(client.uaclient)


def _warn_of_plain_password(client: Client, access: Access) -> None:
    if access.security.password is None or access.security.effective_mode is Mode.SIGN_AND_ENCRYPT:
        return
    if client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri == security_policies.SecurityPolicyNone.URI:
        _log.warning("%s: the password goes over the network as plain text; use a policy", access.name)


async def _keep_up(client: Client, access: Access, upkeep: Upkeep) -> None:
    """Renew the channel in time, and ask for the server's state so that an idle session does not end.

    What fails here ends the connection, which the session notices by itself. Whether a server that gives no answer is
    gone is for the session to say, which knows how long it may be silent; here it has to stay so for longer.
    """
    loop = asyncio.get_running_loop()
    unanswered = 0
    renew_s = loop.time() + client.secure_channel_timeout / 1000 * _RENEW_AT
    while True:
        await asyncio.sleep(max(0.1, min(renew_s - loop.time(), client.session_timeout / 1000 / 3)))
        try:
            if loop.time() >= renew_s:
                await client.open_secure_channel(renew=True)
                client.uaclient.revolve_security_token()
                renew_s = loop.time() + client.secure_channel_timeout / 1000 * _RENEW_AT
            else:
                await client.nodes.server_state.read_data_value(raise_on_bad_status=False)
            cancellation.heed()
            unanswered = 0
        except TimeoutError:
            unanswered += 1
            if unanswered == _MOST_UNANSWERED:
                upkeep.failure = failure.unanswered(access.name, unanswered, timeout_s=access.timeout_s)
                abort(client.uaclient)
                return
        except failure.FAILURES:
            abort(client.uaclient)
            return


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def _take_leave(client: Client, timeout_s: float) -> None:
    """CloseSession, so that the server does not keep it until it times out, and CloseSecureChannel."""
    if client.uaclient.state not in (UaClientState.CHANNEL_OPEN, UaClientState.CONNECTED):
        return  # there is no channel to say it by: not yet, or no longer
    try:
        async with asyncio.timeout(timeout_s):
            if client.uaclient.has_session:
                await client.uaclient.close_session(True)  # with its subscriptions
            await client.uaclient.close_secure_channel()
    except failure.FAILURES:
        pass  # it is gone already, or hangs; the connection ends in any case
