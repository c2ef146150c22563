"""Profiles: those that come with the gateway, those of a user, and what is told when one of them is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import PlannedRequest, Session
from gateway.config import ConfigError, Settings, json_schema, profiles
from gateway.links import links
from tests.plugins.documents import Document

Load = Callable[..., Settings]
Told = Callable[..., list[str]]

ROOT = Path(__file__).parents[2]
HEAD = "gateway: {site: lgg, id: sort-01}\ndestinations: [{name: hub-broker, url: mqtt://broker.example}]\n"

# ruff: noqa: RUF001  a range is written with an en dash
PLANS = {
    "abb-acs-efb": ["FC3 holding 1 (1 register)", "FC3 holding 50–52 (3 registers)"],
    "abb-acs550": ["FC3 holding 1–5 (5 registers)"],
    "danfoss-fc": [
        "FC3 holding 50009 (1 register)",
        "FC3 holding 50199 (1 register)",
        "FC3 holding 50209 (1 register)",
    ],
    "danfoss-fc51": ["FC1 coil 32–47 (16 bits)"],
    "pulseroller-conveylinx": ["FC3 holding 1499–1506 (8 registers)"],
    "pulseroller-conveylinx-reduced": ["FC3 holding 2899–2909 (11 registers)"],
    "schneider-atv320": [
        "FC3 holding 3201–3204 (4 registers)",
        "FC3 holding 7121 (1 register)",
        "FC3 holding 8602–8604 (3 registers)",
    ],
    "vacon-20": ["FC3 holding 2100–2102 (3 registers)"],
}


def three_lines(profile: str, *, url: str = "tcp://10.0.0.5", more: str = "") -> str:
    return f"{HEAD}devices:\n  - name: one\n    url: {url}\n    profile: {profile}\n{more}"


def plan(settings: Settings) -> Sequence[PlannedRequest]:
    (link,) = links(settings.devices)
    return link.open_driver(state_folder=Path()).plan()


@pytest.fixture
def own(folder: Path) -> Callable[[str], str]:
    """Write `belt.yaml`, a profile of a user; the document that names it."""

    def document(profile: str, more: str = "") -> str:
        (folder / "belt.yaml").write_text(profile)
        return three_lines("./belt.yaml", more=more)

    return document


class TestShipped:
    def test_every_one_has_a_plan_here(self) -> None:
        assert profiles.shipped() == sorted(PLANS)

    @pytest.mark.parametrize("name", PLANS)
    def test_three_lines_are_enough(self, name: str, loaded: Load) -> None:
        (device,) = loaded(three_lines(name)).devices
        assert (device.name, device.driver) == ("one", "modbus")
        assert len(device.points) > 5

    @pytest.mark.parametrize("name", PLANS)
    def test_it_is_read_with_these_requests(self, name: str, loaded: Load) -> None:
        assert [each.request for each in plan(loaded(three_lines(name)))] == [f"unit 1 {each}" for each in PLANS[name]]

    @pytest.mark.parametrize("name", PLANS)
    def test_it_says_for_what_it_is_and_where_it_is_from(self, name: str) -> None:
        path = profiles.SHIPPED / f"{name}.yaml"
        about = profiles.read_profile(path, file=path.name).about
        assert about is not None
        assert about.controller
        assert about.sources

    @pytest.mark.parametrize("name", PLANS)
    def test_nothing_of_it_can_be_written(self, name: str, loaded: Load) -> None:
        assert not any(point.writable for point in loaded(three_lines(name)).devices[0].points)

    @pytest.mark.parametrize("name", PLANS)
    def test_its_documentation_names_it(self, name: str) -> None:
        assert f"`{name}`" in (ROOT / "docs" / "profiles.md").read_text()

    def test_a_module_of_a_conveyor_is_never_asked_for_more_than_45_registers(self, loaded: Load) -> None:
        points = "".join(f"      - {{name: p{n}, address: holding:{n}, type: uint16}}\n" for n in range(3000, 3100))
        requests = plan(loaded(three_lines("pulseroller-conveylinx", more=f"    points:\n{points}")))
        counts = [int(each.request.rpartition("(")[2].split()[0]) for each in requests]
        assert sum(counts) == 8 + 100
        assert max(counts) == 45

    def test_an_assembly_is_read_from_its_first_register_whatever_is_wanted_of_it(self, loaded: Load) -> None:
        last = "    points: [{name: last, address: holding:1520, type: uint16}]\n"
        (request,) = plan(loaded(three_lines("pulseroller-conveylinx", more=last)))
        assert request.request == "unit 1 FC3 holding 1499–1519 (21 registers)"

    def test_all_of_them_go_into_the_wheel(self) -> None:
        configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
        patterns = configuration["tool"]["setuptools"]["package-data"]["gateway"]
        packed = {path for pattern in patterns for path in (ROOT / "gateway").glob(pattern)}
        assert set(profiles.SHIPPED.glob("*.yaml")) <= packed


@asynccontextmanager
async def pymodbus(*data: SimData) -> AsyncIterator[str]:
    """A server that is not ours: its url."""
    server = ModbusTcpServer([SimDevice(1, list(data))], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def read(settings: Settings) -> dict[str, Any]:
    (link,) = links(settings.devices)
    driver = link.open_driver(state_folder=Path())
    (group,) = driver.groups
    async with driver.connect() as session:
        assert isinstance(session, Session)
        reading = await session.read(group)
    assert not reading.quality
    return dict(zip((point.name for point in group.points), reading.values, strict=True))


class TestAgainstAServer:
    async def test_a_drive_of_abb_at_half_speed(self, loaded: Load) -> None:
        """Registers 400051 on: 0337 2710 0190."""
        registers = SimData(0, values=[0] * 50 + [0x0337, 0x2710, 0x0190], datatype=DataType.REGISTERS)
        async with pymodbus(registers) as url:
            values = await read(loaded(three_lines("abb-acs-efb", url=url)))
        assert values.pop("speed") == 50.0
        assert values.pop("speed-reference") == 0.0
        assert values.pop("actual-2") == 400
        assert {name for name, value in values.items() if value} == {
            "ready-on",
            "ready-run",
            "enabled",
            "off2-inactive",
            "off3-inactive",
            "at-setpoint",
            "remote",
        }

    async def test_a_conveyor_module_with_a_jam_on_the_right(self, loaded: Load) -> None:
        assembly = [0x0002, 0x0005, 65535, 65534, 12, 0, 0, 0x0028]
        async with pymodbus(SimData(1499, values=assembly, datatype=DataType.REGISTERS)) as url:
            values = await read(loaded(three_lines("pulseroller-conveylinx", url=url)))
        assert [values.pop(f"{zone}-status") for zone in ("upstream", "downstream")] == [2, 5]
        assert [values.pop(f"upstream-{what}") for what in ("arrivals", "departures")] == [65535, 65534]
        assert [values.pop(f"downstream-{what}") for what in ("arrivals", "departures")] == [12, 0]
        assert {name for name, value in values.items() if value} == {"right-jam", "right-motor-error"}

    async def test_the_offset_of_an_entry_wins(self, loaded: Load) -> None:
        assembly = [7, *[0] * 7]
        async with pymodbus(SimData(1500, values=assembly, datatype=DataType.REGISTERS)) as url:
            values = await read(loaded(three_lines("pulseroller-conveylinx", url=url, more="    address_offset: 0\n")))
        assert values["upstream-status"] == 7

    async def test_a_drive_of_danfoss_running_at_reference(self, loaded: Load) -> None:
        """STW 0x0F07 and MAV 0x2000, half of 0x4000."""
        data = [
            SimData(50009, values=0x4000, datatype=DataType.REGISTERS),
            SimData(50199, values=0x0F07, datatype=DataType.REGISTERS),
            SimData(50209, values=0x2000, datatype=DataType.REGISTERS),
        ]
        async with pymodbus(*data) as url:
            values = await read(loaded(three_lines("danfoss-fc", url=url)))
        assert (values.pop("speed-reference"), values.pop("speed")) == (100.0, 50.0)
        assert {name for name, value in values.items() if value} == {
            "control-ready",
            "drive-ready",
            "not-coasting",
            "at-reference",
            "auto-mode",
            "in-frequency-range",
            "running",
        }


BELT = "driver: belt\nlanes: 3\nperiod: 2s\npoints:\n  - {name: speed, address: 3}\n  - {name: load, address: 4}\n"


class TestMerging:
    def test_a_profile_of_ones_own_stands_beside_the_config(self, own: Any, loaded: Load) -> None:
        device = loaded(own(BELT)).devices[0]
        assert device.model_dump()["lanes"] == 3
        assert [point.name for point in device.points] == ["speed", "load"]

    def test_the_entry_wins_over_the_profile_and_that_over_the_defaults(self, own: Any, loaded: Load) -> None:
        defaults = "defaults: {period: 5s, timeout: 3s}\n"
        device = loaded(own(BELT) + defaults).devices[0]
        assert (device.period, device.timeout) == (2.0, 3.0)
        device = loaded(own(BELT, "    period: 1s\n") + defaults).devices[0]
        assert device.period == 1.0

    def test_points_of_the_entry_follow_those_of_the_profile(self, own: Any, loaded: Load) -> None:
        device = loaded(own(BELT, "    points: [{name: jams, address: 9}]\n")).devices[0]
        assert [point.name for point in device.points] == ["speed", "load", "jams"]

    def test_a_point_of_the_same_name_takes_its_place(self, own: Any, loaded: Load) -> None:
        device = loaded(own(BELT, "    points: [{name: speed, address: 30, unit: m/s}]\n")).devices[0]
        assert [point.name for point in device.points] == ["speed", "load"]
        assert device.points[0].unit == "m/s"
        assert device.points[0].model_dump()["address"] == 30

    def test_so_does_a_row_of_a_points_file(self, own: Any, loaded: Load, folder: Path) -> None:
        (folder / "more.csv").write_text("name,address\nload,40\njams,9\n")
        device = loaded(own(BELT, "    points_file: more.csv\n")).devices[0]
        assert [(point.name, point.model_dump()["address"]) for point in device.points] == [
            ("speed", 3),
            ("load", 40),
            ("jams", 9),
        ]

    def test_an_entry_may_repeat_the_driver(self, own: Any, loaded: Load) -> None:
        assert loaded(own(BELT, "    driver: belt\n")).devices[0].driver == "belt"

    def test_a_profile_may_leave_the_points_to_the_entry(self, own: Any, loaded: Load) -> None:
        document = own("driver: belt\n", "    points: [{name: jams, address: 9}]\n")
        assert [point.name for point in loaded(document).devices[0].points] == ["jams"]

    def test_a_file_in_another_folder(self, folder: Path, loaded: Load) -> None:
        (folder / "known").mkdir()
        (folder / "known" / "belt.yaml").write_text(BELT)
        assert len(loaded(three_lines("known/belt.yaml")).devices[0].points) == 2

    def test_a_name_never_means_a_file_beside_the_config(self, folder: Path, loaded: Load) -> None:
        (folder / "vacon-20.yaml").write_text(BELT)
        assert loaded(three_lines("vacon-20")).devices[0].driver == "modbus"


class TestMistakes:
    @pytest.mark.parametrize(
        ("profile", "message"),
        [
            ("vacon20", '"vacon20" is not a profile; did you mean "vacon-20"?; a file of your own is ./vacon20.yaml'),
            ("./none.yaml", "none.yaml: there is no such file"),
            ("3", "must be the name of a profile, or of a YAML file"),
            ("''", "must be the name of a profile, or of a YAML file"),
            ('"./a\\0.yaml"', "a\\x00.yaml: there is no such file"),
            ("../../etc", "../../etc: there is no such file"),
        ],
    )
    def test_a_profile_that_is_not_there(self, profile: str, message: str, told: Told) -> None:
        assert told(three_lines(profile)) == [f"hub.yaml:6:14: devices[0].profile: {message}"]

    def test_what_no_profile_resembles_is_told_which_there_are(self, told: Told) -> None:
        (message,) = told(three_lines("xyzzy"))
        assert f"there is {', '.join(PLANS)}" in message

    @pytest.mark.parametrize(
        ("profile", "message"),
        [
            (
                BELT.replace("address: 4}", "address: -4}"),
                "6:27: points[1].address: -4 is not possible; it must be at least 0",
            ),
            (
                BELT.replace("address: 4}", "addres: 4}"),
                '6:18: points[1].addres: "addres" is not a key here; did you mean "address"?',
            ),
            (BELT.replace("lanes: 3", "lane: 3"), '2:1: lane: "lane" is not a key here; did you mean "lanes"?'),
            (BELT.replace("lanes: 3", "lanes: many"), '2:8: lanes: "many" is not a whole number'),
            (BELT.replace("driver: belt", "driver: bet"), '1:9: driver: "bet" is not a driver; did you mean "belt"?'),
            (BELT.replace("driver: belt\n", ""), "1:1: driver: a profile names its driver, for example driver: modbus"),
            (BELT + "name: x\n", "7:1: name: name belongs into the device entry, not into its profile"),
            (BELT + "url: x\n", "7:1: url: url belongs into the device entry, not into its profile"),
            (BELT + "profile: x\n", "7:1: profile: profile belongs into the device entry, not into its profile"),
            (
                BELT + "points_file: x\n",
                "7:1: points_file: points_file belongs into the device entry, not into its profile",
            ),
            (
                BELT + "serial_number: ${env:X}\n",
                "7:16: serial_number: nothing is filled in here; put ${…} into the device entry",
            ),
            (
                BELT + "about: {controler: x}\n",
                '7:9: about.controler: "controler" is not a key here; did you mean "controller"?',
            ),
            (
                BELT + "about: {controller: x, sources: y}\n",
                '7:33: about.sources: "y" is not a list; start each entry with -',
            ),
            ("driver: belt\npoints: {a: 1}\n", "2:9: points: is not a list; start each point with -"),
            ("driver: belt\ndriver: belt\n", "2:1: driver: stands twice; the first is in line 1"),
            ("- a\n", "1:1: the file must consist of keys: about:, driver:, points: …"),
            ("a: [\n", "2:1: something is missing here, or there is a comma too many"),
        ],
    )
    def test_a_mistake_in_a_profile_has_its_place_there(self, profile: str, message: str, own: Any, told: Told) -> None:
        assert f"belt.yaml:{message}" in told(own(profile))

    def test_a_name_that_stands_twice_in_a_profile(self, own: Any, told: Told) -> None:
        document = own(BELT.replace("name: load", "name: speed"))
        assert told(document) == ['belt.yaml:6:12: points[1].name: "speed" is taken already, in line 5']

    def test_a_mistake_in_the_entry_has_its_place_there_and_its_own_number(self, own: Any, told: Told) -> None:
        document = own(BELT, "    points:\n      - {name: jams, address: -1}\n")
        assert told(document) == [
            "hub.yaml:8:31: devices[0].points[0].address: -1 is not possible; it must be at least 0"
        ]

    def test_a_mistake_in_a_points_file_has_its_place_there(self, own: Any, told: Told, folder: Path) -> None:
        (folder / "more.csv").write_text("name,address\njams,-1\n")
        assert told(own(BELT, "    points_file: more.csv\n")) == [
            'more.csv:2:6: address: "-1" is not possible; it must be at least 0'
        ]

    def test_a_mistake_in_a_profile_that_two_devices_have_is_told_once(self, own: Any, told: Told) -> None:
        document = own(BELT.replace("lanes: 3", "lanes: many"))
        document += "  - {name: two, url: tcp://10.0.0.6, profile: ./belt.yaml}\n"
        assert told(document) == ['belt.yaml:2:8: lanes: "many" is not a whole number']

    def test_another_driver_than_that_of_the_profile(self, own: Any, told: Told) -> None:
        assert told(own(BELT, "    driver: modbus\n")) == [
            "hub.yaml:7:13: devices[0].driver: the profile is for driver: belt; remove this line"
        ]

    def test_what_a_reference_stands_for_is_not_shown(self, loaded: Load) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded(three_lines("${env:PROFILE}"), environment={"PROFILE": "hunter2"})
        assert '"${env:PROFILE}" is not a profile' in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_other_mistakes_are_told_with_a_profile_that_is_not_there(self, told: Told) -> None:
        found = told(three_lines("vacon20", more="    period: 1\n"))
        assert len(found) == 2
        assert found[1].startswith("hub.yaml:7:13: devices[0].period:")

    def test_a_device_without_any_points(self, own: Any, told: Told) -> None:
        (message,) = told(own("driver: belt\n"))
        assert "the device has no points" in message

    def test_a_reference_that_leads_nowhere_is_the_only_mistake(self, told: Told) -> None:
        (message,) = told(three_lines("${env:PROFILE}"))
        assert message.startswith("hub.yaml:6:14: devices[0].profile: the environment variable PROFILE is not set")


def test_the_examples_of_the_documentation_are_good(folder: Path, loaded: Load) -> None:
    blocks = Document(ROOT / "docs" / "profiles.md").blocks("yaml")
    devices = []
    for block in blocks:
        if block.startswith("# mixer.yaml"):
            (folder / "mixer.yaml").write_text(block)
        else:
            entry = block if block.startswith("devices:") else f"devices:\n{block}"
            devices += loaded(HEAD + entry).devices
    assert [len(device.points) for device in devices] == [34, 34, 35, 2]


def test_editors_are_offered_the_profiles_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.registry.names", lambda: ["belt", "modbus"])
    schema: dict[str, Any] = json_schema()
    (by_profile,) = [each for each in schema["$defs"].values() if each.get("title") == "modbus device by profile"]
    assert by_profile["required"] == ["name", "url", "profile"]
    assert by_profile["properties"]["profile"]["examples"] == profiles.shipped()
