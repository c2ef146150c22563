"""An open session and what is asked of it: requests in chunks that the server takes, errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from drivers.contract import BadResponse, DeviceUnavailable, DriverError
from drivers.model import Reason
from drivers.opcua import cancellation, decoding, failure
from drivers.opcua.channel import Upkeep, open_client
from drivers.opcua.client import Access

_T = TypeVar("_T")
_R = TypeVar("_R")

_MOST = 1000
"""In one request, where the server names no limit or a larger one."""
_READ, _TRANSLATE, _BROWSE, _MONITOR = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
)
"""Operation limits (Part 5, 6.3.11), by the node that holds them."""
_TYPES_TAKE = 20
"""Reading the data types of a server takes that many answers in a row, at most."""
_NAMESPACES: Final = ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray))


@asynccontextmanager
async def open_link(access: Access) -> AsyncIterator[Link]:
    """A session that knows the namespaces and the limits of its server. Raises `DeviceUnavailable`."""
    async with open_client(access) as (client, upkeep):
        link = Link(client, access, upkeep)
        try:
            await link.learn()
        except BadResponse as error:
            raise DeviceUnavailable(error.message, reason=error.reason, hint=error.hint) from error
        yield link


class Link:
    """An open session. Raises `DeviceUnavailable` when it is gone, `BadResponse` when a request failed."""

    def __init__(self, client: Client, access: Access, upkeep: Upkeep) -> None:
        self._client = client
        self._upkeep = upkeep
        self._session = client.uaclient.session
        self._timeout_s = access.timeout_s
        self._limits = dict.fromkeys((_READ, _TRANSLATE, _BROWSE, _MONITOR), _MOST)
        self.name = access.name
        self.namespaces: tuple[str, ...] = ()

    async def learn(self) -> None:
        """Read which namespaces there are, and how much one request may ask for."""
        self._limits[_READ] = 1 + len(self._limits)
        nodes = [_NAMESPACES, *(ua.NodeId(ua.Int32(limit)) for limit in self._limits)]
        namespaces, *limits = await self.read("reading namespaces and limits", nodes)
        self.namespaces = _uris(namespaces)
        for limit, data in zip(self._limits, limits, strict=True):
            most = data.Value.Value if data.Value is not None else None
            self._limits[limit] = min(most, _MOST) if isinstance(most, int) and most > 0 else _MOST

    async def learn_namespaces(self) -> None:
        """Read again which there are: a server adds one with each program that is loaded into it."""
        (namespaces,) = await self.read("reading namespaces", [_NAMESPACES])
        self.namespaces = _uris(namespaces)

    async def read(
        self,
        attempt: str,
        nodes: Sequence[ua.NodeId],
        attribute: AttributeIds = AttributeIds.Value,
    ) -> list[ua.DataValue]:
        """One attribute of each node, with both timestamps."""
        wanted = [ua.ReadValueId(node, ua.IntegerId(attribute)) for node in nodes]

        async def ask(chunk: list[ua.ReadValueId]) -> list[ua.DataValue]:
            return await self._session.read(ua.ReadParameters(ua.Duration(0), ua.TimestampsToReturn.Both, chunk))

        return await self._in_chunks(attempt, _READ, wanted, ask)

    async def write(self, attempt: str, node: ua.NodeId, variant: ua.Variant) -> ua.StatusCode:
        """The value alone: many servers refuse to be told a status or a time."""
        value = ua.WriteValue(node, ua.IntegerId(AttributeIds.Value), None, ua.DataValue(variant, StatusCode=None))
        (status,) = await self.ask(attempt, self._session.write(ua.WriteParameters([value])))
        return status

    async def translate(self, paths: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """The nodes at the end of browse paths."""
        attempt = "translating browse paths"
        return await self._in_chunks(attempt, _TRANSLATE, paths, self._session.translate_browsepaths_to_nodeids)

    async def browse(self, descriptions: list[ua.BrowseDescription]) -> list[ua.BrowseResult]:
        """The references of nodes; where there are more than the server gives at once, see `browse_next`."""

        async def ask(chunk: list[ua.BrowseDescription]) -> list[ua.BrowseResult]:
            return await self._session.browse(ua.BrowseParameters(NodesToBrowse=chunk))

        return await self._in_chunks("browsing", _BROWSE, descriptions, ask)

    async def browse_next(self, continuation: bytes) -> ua.BrowseResult:
        """More references of one node."""
        parameters = ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=[continuation])
        (found,) = await self.ask("browsing on", self._session.browse_next(parameters))
        return found

    async def subscribe(self, parameters: ua.CreateSubscriptionParameters) -> ua.CreateSubscriptionResult:
        """A new subscription, without items."""
        asking = self._session.create_subscription(parameters, _never_called)
        return await self.ask("creating a subscription", asking)

    async def monitor(
        self, subscription: int, items: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        """Put items into a subscription."""

        async def ask(chunk: list[ua.MonitoredItemCreateRequest]) -> list[ua.MonitoredItemCreateResult]:
            return await self._session.create_monitored_items(
                ua.CreateMonitoredItemsParameters(ua.IntegerId(subscription), ua.TimestampsToReturn.Both, chunk)
            )

        return await self._in_chunks("creating monitored items", _MONITOR, items, ask)

    async def publish(self, acknowledged: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResult | None:
        """Wait for the next notification, however long that takes. None: the server takes no more such requests now."""
        try:
            response = await self._session.publish(acknowledged)
        except UaStatusCodeError as error:
            if error.code in (StatusCodes.BadTooManyPublishRequests, StatusCodes.BadTimeout):
                return None
            raise self._failed("waiting for notifications", error) from error
        except failure.FAILURES as error:
            raise self._failed("waiting for notifications", error) from error
        result: ua.PublishResult = response.Parameters
        return result

    async def republish(self, subscription: int, number: int) -> ua.NotificationMessage:
        """The notification of a subscription that has this number, once more."""
        attempt = f"asking again for notification {number}"
        message = await self.ask(attempt, self._session.republish(subscription, number))
        if message.SequenceNumber != number:
            raise BadResponse(f"{self.name}: {attempt}: the server has it no longer", reason=Reason.BAD_RESPONSE)
        return message

    async def load_types(self) -> None:
        """Learn the structures and enumerations of the server, so that asyncua can decode them."""
        limit_s = self._timeout_s * _TYPES_TAKE
        await self.ask("reading data types", self._client.load_data_type_definitions(), timeout_s=limit_s)
        decoding.allow_unnamed([*ua.enums_by_datatype.values()])

    async def ask(self, attempt: str, asking: Awaitable[_T], *, timeout_s: float | None = None) -> _T:
        """Await an answer, for as long as the link's timeout unless another one is given."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answer = await asking
                cancellation.heed()
        except failure.FAILURES as error:
            raise self._failed(attempt, error, timeout_s=limit_s) from error
        return answer

    async def _in_chunks(
        self, attempt: str, limit: int, items: Sequence[_T], ask: Callable[[list[_T]], Awaitable[list[_R]]]
    ) -> list[_R]:
        """Ask for all of them, as many at once as the server takes; half as many where that proves too much."""
        results: list[_R] = []
        while len(results) < len(items):
            chunk = list(items[len(results) : len(results) + self._limits[limit]])
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await ask(chunk)
                    cancellation.heed()
            except failure.FAILURES as error:
                if failure.is_too_much(error) and len(chunk) > 1:
                    self._limits[limit] = len(chunk) // 2
                    continue
                raise self._failed(attempt, error, timeout_s=self._timeout_s) from error
            if answer is None or len(answer) != len(chunk):
                message = f"{self.name}: {attempt}: {len(answer or ())} answers to {len(chunk)} questions"
                raise BadResponse(message, reason=Reason.BAD_RESPONSE)
            results += answer
        return results

    def _failed(self, attempt: str, error: BaseException, *, timeout_s: float | None = None) -> DriverError:
        return self._upkeep.failure or failure.of_request(self.name, attempt, error, timeout_s=timeout_s)


def _uris(namespaces: ua.DataValue) -> tuple[str, ...]:
    found = namespaces.Value.Value if namespaces.Value is not None else None
    return tuple(str(uri) for uri in found) if isinstance(found, list) else ()


def _never_called(_: object) -> None:
    raise AssertionError("notifications are published by nobody but the subscription")
