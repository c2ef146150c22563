"""A client of asyncua that is not connected, and the steps that lead there.

asyncua's own `connect` is not used: it starts tasks of its own that reconnect, watch and resubscribe, which is the
host's to decide, and it leaves its socket open when it is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient
from asyncua.client.ua_session import UaSession
from asyncua.crypto import security_policies

from drivers.opcua import cancellation, certificates, decoding, failure
from drivers.opcua.endpoint import Endpoint
from drivers.opcua.security import Mode, Policy, SecuritySettings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

POLICIES: Final[dict[Policy, type[security_policies.SecurityPolicy]]] = {
    Policy.NONE: security_policies.SecurityPolicyNone,
    Policy.BASIC256SHA256: security_policies.SecurityPolicyBasic256Sha256,
    Policy.AES128_SHA256_RSA_OAEP: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    Policy.AES256_SHA256_RSA_PSS: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
MODES: Final = {
    None: ua.MessageSecurityMode.None_,
    Mode.SIGN: ua.MessageSecurityMode.Sign,
    Mode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}
_SESSION_S = 60
"""How long a server may keep a session of which it hears nothing."""
_CHANNEL_S = 3600


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is reached, and as whom."""

    endpoint: Endpoint
    security: SecuritySettings
    folder: Path
    """Where certificates are kept."""
    timeout_s: float
    """For each answer."""

    @property
    def name(self) -> str:
        """What a person would call the link. No secrets."""
        return f"{self.endpoint} ({self.security})"


def new_client(access: Access) -> Client:
    """A client that is not connected. Does no I/O."""
    if not _log.isEnabledFor(logging.DEBUG):
        logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)  # what it has to say, we raise
    client = Client(str(access.endpoint), timeout=access.timeout_s)
    client.uaclient.pre_request_hook = None
    client.uaclient.session = _Session(client.uaclient)
    client.nodes = type(client.nodes)(client.uaclient.session)
    client.name = client.description = "hub-gateway"
    client.product_uri = "urn:hub-gateway"
    client.application_uri = certificates.default_uri()
    client.session_timeout = _SESSION_S * 1000
    client.secure_channel_timeout = _CHANNEL_S * 1000
    return client


async def endpoints_of(access: Access) -> list[ua.EndpointDescription]:
    """What the server offers, by a channel without security, which every server must give (Part 4, 5.4.4).

    Raises `DeviceUnavailable`.
    """
    client = new_client(access)
    try:
        await step(access, "reaching it", client.connect_socket())
        await step(access, "greeting it", client.send_hello())
        await step(access, "opening a channel to ask for its endpoints", client.open_secure_channel())
        found = await step(access, "asking for its endpoints", client.get_endpoints())
        await step(access, "closing that channel", client.close_secure_channel())
        return found
    finally:
        abort(client.uaclient)


async def step(access: Access, name: str, awaitable: Awaitable[_T], *, own: str = "") -> _T:
    try:
        async with asyncio.timeout(access.timeout_s):
            result = await awaitable
            cancellation.heed()
    except failure.FAILURES as error:
        raise failure.cannot_connect(access.name, name, error, timeout_s=access.timeout_s, own=own) from error
    return result


def security_of(description: ua.EndpointDescription) -> str:
    """Policy and mode as a config names them."""
    policy = (description.SecurityPolicyUri or "").rpartition("#")[2].replace("_", "")
    mode = description.SecurityMode.name.rstrip("_")
    return policy if mode == "None" else f"{policy} {mode}"


def abort(client: UaClient) -> None:
    """Drop the connection, whatever is still to be sent."""
    if client.protocol is not None and client.protocol.transport is not None:
        client.protocol.transport.abort()


class _Session(UaSession):
    """A session without a task that publishes: the subscription asks for its notifications itself.

    A structure that cannot be decoded does not cost it the values around it.
    """

    def ensure_publish_loop(self) -> None:
        pass

    async def read(self, parameters: ua.ReadParameters) -> list[ua.DataValue]:
        request = ua.ReadRequest()
        request.Parameters = parameters
        response = decoding.read_response(await self._send_request(request))
        response.ResponseHeader.ServiceResult.check()
        return response.Results

    async def publish(self, acks: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResponse:
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = acks
        return decoding.publish_response(await self._send_request(request, timeout=0))

    async def republish(self, subscription_id: int, retransmit_sequence_number: int) -> ua.NotificationMessage:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = subscription_id
        request.Parameters.RetransmitSequenceNumber = retransmit_sequence_number
        response = decoding.republish_response(await self._send_request(request))
        response.ResponseHeader.ServiceResult.check()
        message: ua.NotificationMessage = response.NotificationMessage
        return message
