"""Sessions with a scale: one that is asked, and one that listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from decimal import Decimal

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Point, PointGroup, Reading, Value, bad
from drivers.scale.indication import Indication, Tare
from drivers.scale.instrument import Instrument
from drivers.scale.loads import Loads
from drivers.scale.reading import Readings, tare_reading
from drivers.scale.units import in_kilograms

_MOST_TARE = 10_000_000
"""In whatever unit: eight digits are more than a display has."""


class Writer:
    """Writes `zero` and `tare`."""

    def __init__(self, instrument: Instrument, *, to_kilograms: bool) -> None:
        self._instrument = instrument
        self._to_kilograms = to_kilograms

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:  # noqa: ARG002  one scale, one group
        """As `drivers.contract.WritableSession.write`.

        `zero` takes anything that is true. `tare` takes true for what lies on the scale, a weight to be set, and false
        or 0 to clear it; it returns the weight that is held, or what was confirmed where the instrument cannot tell.
        """
        if point.name == "zero":
            if not value:
                raise ValueError("zero takes true, which sets the scale to zero")
            await self._instrument.zero()
            return True
        if value is True:
            return self._shown(await self._instrument.tare(), confirmed=True)
        weight = _weight(value)
        if not weight:
            return self._shown(await self._instrument.clear_tare(), confirmed=Decimal(0))
        held = await self._instrument.preset_tare(weight, unit="kg" if self._to_kilograms else "")
        return self._shown(held, confirmed=weight)

    def _shown(self, held: Tare | None, *, confirmed: Value) -> Value:
        if held is None:
            return confirmed
        weight = in_kilograms(held.weight, held.unit) if self._to_kilograms else held.weight
        return confirmed if weight is None else weight


class PolledScale(Writer):
    """`drivers.contract.Session` and `WritableSession`."""

    def __init__(
        self, instrument: Instrument, readings: Readings, *, to_kilograms: bool, clock: Callable[[], int]
    ) -> None:
        """`clock` is wall-clock time in nanoseconds."""
        super().__init__(instrument, to_kilograms=to_kilograms)
        self._readings = readings
        self._clock = clock
        self._tells_tare = True

    async def read(self, group: PointGroup) -> Reading:
        """As `drivers.contract.Session.read`."""
        if group.names == ("tare",):
            return await self._read_tare(group)
        return self._readings.of(await self._instrument.weigh())

    async def _read_tare(self, group: PointGroup) -> Reading:
        """That a scale does not tell its tare is no reason to give up its weight: it is bad, and not asked again."""
        held = None
        if self._tells_tare:
            try:
                held = await self._instrument.held_tare()
            except BadResponse as error:
                return Reading(group, self._clock(), (None,), {0: bad(error.reason)})
            self._tells_tare = held is not None
        return tare_reading(group, held, to_kilograms=self._to_kilograms, now_ns=self._clock())


class ListeningScale(Writer):
    """`drivers.contract.StreamSession` and `WritableSession`."""

    def __init__(self, instrument: Instrument, readings: Readings, *, to_kilograms: bool, loads: Loads | None) -> None:
        """With `loads`, only the first settled indication of each load is a reading."""
        super().__init__(instrument, to_kilograms=to_kilograms)
        self._readings = readings
        self._loads = loads

    async def readings(self) -> AsyncGenerator[Reading, None]:
        """As `drivers.contract.StreamSession.readings`."""
        loads = self._loads
        try:
            async with aclosing(self._indications()) as indications:
                async for indication in indications:
                    if loads is None or loads.is_new(indication):
                        yield self._readings.of(indication)
        except BadResponse as error:
            raise DeviceUnavailable(error.message, reason=error.reason, hint=error.hint) from error

    def _indications(self) -> AsyncGenerator[Indication, None]:
        return self._instrument.indications() if self._loads is None else self._instrument.settled()


def _weight(value: Value) -> Decimal:
    if value is False:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(  # noqa: TRY004  the contract's type for what a person sent
            "tare takes true for what lies on the scale, a weight, or false to clear it"
        )
    weight = Decimal(str(value))
    if not weight.is_finite() or not 0 <= weight < _MOST_TARE:
        raise ValueError(f"{value} is not a weight that can be taken off")
    return weight
