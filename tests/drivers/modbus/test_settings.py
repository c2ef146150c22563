"""Every mistake in a Modbus entry is answered in words that say what to write instead."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.modbus import FAMILY
from drivers.modbus.endpoint import parse_endpoint
from drivers.modbus.settings import ModbusDeviceSettings, ModbusPointSettings


def point(**keys: Any) -> ModbusPointSettings:
    return ModbusPointSettings.model_validate({"name": "speed", "address": "holding:0", "type": "uint16"} | keys)


def device(**keys: Any) -> ModbusDeviceSettings:
    entry = {"name": "infeed", "driver": "modbus", "url": "tcp://10.0.0.5"} | keys
    return ModbusDeviceSettings.model_validate(entry)


def complaint(error: pytest.ExceptionInfo[ValidationError]) -> str:
    (problem,) = error.value.errors()
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"type": "flot32"}, 'type: "flot32" is not a type; did you mean "float32"?'),
        ({"type": "string"}, 'type: "string" needs its length in bytes, for example string(16)'),
        ({"type": "string(251)"}, 'type: "string(251)" does not fit into one request; a string has 1 to 250 bytes'),
        ({"type": None}, "type: a register needs a type, for example {address: holding:0, type: uint16}"),
        (
            {"type": "bool"},
            "type: a bool needs a coil, a discrete input or one bit of a register, for example holding:0.0",
        ),
        ({"address": "coil:3"}, "type: coil:3 is one bit, so its type is bool, not uint16"),
        ({"address": "holding:3.1"}, "type: holding:3.1 is one bit, so its type is bool, not uint16"),
        (
            {"address": "holding:65535", "type": "int32"},
            "type: int32 at holding:65535 runs beyond the last address, 65535",
        ),
        ({"address": "holdng:0"}, 'address: "holdng:0": "holdng" is not a table; did you mean "holding"?'),
        ({"address": "holding:65536"}, 'address: "holding:65536": 65536 is beyond the last address, 65535'),
        (
            {"address": "holding:3.16"},
            'address: "holding:3.16" asks for bit 16; a register has the bits 0 (least significant) to 15',
        ),
        (
            {"address": "coil:3.1"},
            'address: "coil:3.1" asks for a bit of a coil, which is itself one bit; write coil:3',
        ),
        (
            {"address": 40001},
            'address: "40001" is not an address; addresses are those on the wire, so 40001 of a manual is holding:0; ',
        ),
        (
            {"order": "ACBD", "type": "int32"},
            'order: "ACBD" is not an order; known are ABCD, DCBA, BADC, CDAB, ABCDEFGH, ',
        ),
        ({"order": "CDAB"}, "order: CDAB orders words; uint16 has bytes in registers only: ABCD, or BADC for swapped"),
        ({"order": "HGFEDCBA", "type": "int32"}, "order: HGFEDCBA is an order of 8 bytes; int32 needs one of ABCD, "),
        ({"scale": 0}, "scale: scale 0 would make every value the same"),
        ({"type": "string(4)", "scale": 2}, "scale: scale has no meaning for a string"),
        ({"address": "coil:0", "type": "bool", "offset": 1}, "offset: offset has no meaning for a bool"),
        ({"type": "string(4)", "deadband": 1}, ": deadband has no meaning for a string: any change is reported"),
        (
            {"address": "input:0", "writable": True},
            ": input:0 cannot be writable: only holding registers and coils can ",
        ),
        (
            {"scale": 10, "writable": True, "max": 26},
            ": max 26 lies between 20 and 30, the nearest that the register can hold; write one",
        ),
        (
            {"scale": -0.5, "offset": 0.2, "writable": True, "min": 0, "max": 0.7},
            ": min 0 lies between -0.3 and 0.2, the nearest that the register can hold; write one",
        ),
    ],
)
def test_a_mistake_in_a_point_is_named_with_what_to_write_instead(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as error:
        point(**keys)
    assert complaint(error).startswith(expected)


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "bcd16", "float32"])
@pytest.mark.parametrize("keys", [{"scale": 0.001}, {"scale": 0.1, "offset": 0.05}, {"scale": 1e-9}, {}])
def test_a_limit_on_a_step_is_taken(kind: str, keys: dict[str, Any]) -> None:
    scale, offset = keys.get("scale", 1), keys.get("offset", 0)
    least, most = (float(Decimal(str(scale)) * raw + Decimal(str(offset))) for raw in (3, 2500))
    assert point(type=kind, writable=True, min=least, max=most, **keys).max == most


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"url": "udp://10.0.0.5"},
            'url: "udp://" is not supported for modbus; supported are tcp://host:port, tls://host:port, rtu+tcp://',
        ),
        ({"url": "10.0.0.5"}, 'url: "10.0.0.5" is not supported for modbus; supported are tcp://host:port, '),
        (
            {"url": "tcp://10.0.0.5:70000"},
            'url: "tcp://10.0.0.5:70000" is not a url: Port out of range 0-65535; supported ',
        ),
        ({"url": "tcp://"}, 'url: "tcp://" must be tcp://host:port and nothing else'),
        (
            {"url": "rtu://dev/ttyUSB0"},
            'url: "rtu://dev/ttyUSB0" must name a device file with three slashes, for example ',
        ),
        (
            {"url": "rtu:///dev/ttyS0?baud=9600"},
            'url: "rtu:///dev/ttyS0?baud=9600": "baud" is not a setting of a serial ',
        ),
        ({"url": "rtu:///dev/ttyS0?parity=X"}, 'url: "rtu:///dev/ttyS0?parity=X": parity is E (even), O (odd) or N '),
        (
            {"url": "rtu+tcp://10.0.0.5/dev"},
            'url: "rtu+tcp://10.0.0.5/dev" must be rtu+tcp://host:port and nothing else',
        ),
        ({"url": "tls://10.0.0.5:0"}, 'url: "tls://10.0.0.5:0": port 0 cannot be connected to; the default is 802'),
        (
            {"url": "ascii://ttyUSB0"},
            'url: "ascii://ttyUSB0" must name a device file with three slashes, for example ascii:///dev/ttyUSB0',
        ),
        ({"url": "ascii:///dev/ttyS0?bytesize=6"}, 'url: "ascii:///dev/ttyS0?bytesize=6": bytesize is 7 or 8 for '),
        ({"url": "rtu:///dev/ttyS0?bytesize=7"}, 'url: "rtu:///dev/ttyS0?bytesize=7": bytesize is 8 for Modbus RTU; '),
        (
            {"url": "rtu:///dev/ttyS0?baudrate=fast"},
            'url: "rtu:///dev/ttyS0?baudrate=fast": baudrate is a number from ',
        ),
        (
            {"url": "rtu:///dev/ttyS0", "unit": 0},
            "unit: 0 is not a unit on a serial line; they are 1 to 247 (0 is the ",
        ),
        ({"url": "rtu+tcp://10.0.0.5:4001", "unit": 255}, "unit: 255 is not a unit on a serial line; they are 1 to "),
        ({"tls": {}}, "tls: tls has no effect on tcp://10.0.0.5:502; an encrypted link is tls://host:802"),
        (
            {"url": "tls://10.0.0.5", "tls": {"key": "gw.key"}},
            "tls: a key has no effect without a certificate; add certificate:",
        ),
        (
            {"url": "tls://10.0.0.5", "tls": {"ca": "ca.pem", "verify": False}},
            "tls: ca has no effect with verify: false; remove one of them",
        ),
        ({"url": "tls://10.0.0.5", "tls": {"certificate": ""}}, "tls.certificate: must be the name of a file"),
        (
            {"url": "rtu:///dev/ttyS0", "reconnect_each_read": True},
            "reconnect_each_read: a serial line has no connection that could be made anew",
        ),
        ({"no_gap_fill": True, "max_gap": 4}, ": no_gap_fill and max_gap contradict each other; remove one of them"),
        (
            {"start_only_blocks": ["holding:10-19", "holding:19-30"]},
            ": the start_only_blocks holding:10-19 and holding:19-30 overlap",
        ),
        (
            {"start_only_blocks": ["holding:6-9"], "at": 5},
            ': point "p" at holding:5-6 lies across the edge of the start-only block holding:6-9',
        ),
        (
            {"start_only_blocks": ["holding:0-99"], "max_registers": 45, "at": 50},
            ': point "p" is read with holding:0-51, which is 52 registers, but max_registers is 45',
        ),
        (
            {"start_only_blocks": ["holding:0-99"], "forbidden": ["holding:20"], "at": 50},
            ': point "p" is read with holding:0-51, which takes in the forbidden holding:20',
        ),
        (
            {"address_offset": -1, "at": 0},
            ': point "p" at holding:0-1 would be -1 on the wire, because of address_offset: -1',
        ),
        (
            {"address_offset": 60000, "at": 5535},
            ': point "p" at holding:5535-5536 would be 65536 on the wire, because of address_offset: 60000',
        ),
        (
            {"function_codes": {"write_register": 6}, "at": 5, "writable": True},
            ': point "p" has 2 registers, which must change together, but write_register: 6 writes one',
        ),
        (
            {"at": 5, "type": "string(248)", "writable": True},
            ': point "p" has 124 registers; at most 123 can be written in one request',
        ),
        ({"forbidden": ["holding:9-3"]}, 'forbidden: "holding:9-3" ends before it starts'),
        ({"forbidden": ["holding:2-9"], "at": 5}, ': point "p" at holding:5-6 lies in the forbidden holding:2-9'),
        ({"max_registers": 1, "at": 5}, ': point "p" has 2 registers but max_registers is 1'),
    ],
)
def test_a_mistake_in_a_device_is_named_with_what_to_write_instead(keys: dict[str, Any], expected: str) -> None:
    if (at := keys.pop("at", None)) is not None:
        more = {key: keys.pop(key) for key in ("type", "writable") if key in keys}
        keys["points"] = [{"name": "p", "address": f"holding:{at}", "type": "int32", **more}]
    with pytest.raises(ValidationError) as error:
        device(**keys)
    assert complaint(error).startswith(expected)


def test_two_points_of_one_name_are_an_error() -> None:
    with pytest.raises(ValidationError, match='two points are called "a"'):
        device(points=[{"name": "a", "address": "coil:0"}, {"name": "a", "address": "coil:1"}])


def test_a_bit_needs_no_type() -> None:
    assert point(address="holding:12.3", type=None).type == "bool"
    assert point(address="discrete:3", type=None).type == "bool"


def test_a_64_bit_order_may_be_spelt_out() -> None:
    assert point(type="float64", order="GHEFCDAB").point().order == "CDAB"


def test_units_of_one_line_share_a_link_whatever_their_settings() -> None:
    links = {
        FAMILY.link(device(url="rtu:///dev/ttyUSB0?baudrate=9600", unit=1)),
        FAMILY.link(device(url="rtu:///dev//ttyUSB0", unit=2)),
    }
    assert links == {"rtu:///dev/ttyUSB0"}


def test_a_tcp_link_has_its_default_port_and_no_capitals() -> None:
    assert FAMILY.link(device(url="tcp://PLC-1")) == "tcp://plc-1:502"
    assert FAMILY.link(device(url="tcp://[::1]:1502")) == "tcp://[::1]:1502"


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("tls://plc-1", "tls://plc-1:802"),
        ("rtu+tcp://10.0.0.5:4001", "rtu+tcp://10.0.0.5:4001"),
        ("ascii+tcp://[fe80::1]:4001/", "ascii+tcp://[fe80::1]:4001"),
        ("ascii:///dev/ttyUSB0?baudrate=9600", "ascii:///dev/ttyUSB0"),
    ],
)
def test_a_link_of_each_kind_has_its_name(url: str, link: str) -> None:
    assert FAMILY.link(device(url=url)) == link


def test_an_ascii_line_has_seven_data_bits_unless_told_otherwise() -> None:
    frames = [parse_endpoint(f"ascii:///dev/ttyS0{more}").frame for more in ("", "?bytesize=8&parity=N")]  # type: ignore[union-attr]
    assert frames == ["7E1", "8N1"]


def test_the_files_of_tls_are_found_beside_the_config_file_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    entry = {"name": "a", "driver": "modbus", "url": "tls://plc-1", "tls": {"ca": "ca.pem"}}
    found = ModbusDeviceSettings.model_validate(entry, context={"folder": tmp_path})
    assert found.tls is not None
    assert found.tls.ca == tmp_path / "ca.pem"
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(ValidationError, match=f"cannot read {tmp_path}/ca.pem: No such file"):
        ModbusDeviceSettings.model_validate(entry, context={"folder": tmp_path})


def test_devices_of_one_connection_need_one_tls() -> None:
    devices = [device(url="tls://plc-1"), device(name="b", url="tls://plc-1", tls={"server_name": "plc"})]
    with pytest.raises(ValueError, match='"infeed" and "b" share tls://plc-1:802, which is one connection, but not'):
        FAMILY.driver(devices, state_folder=Path())


def test_devices_that_disagree_about_their_serial_line_are_an_error() -> None:
    devices = [device(url="rtu:///dev/ttyUSB0?baudrate=9600"), device(name="b", url="rtu:///dev/ttyUSB0?parity=N")]
    with pytest.raises(ValueError, match=r'"infeed" has /dev/ttyUSB0 at 9600 8E1 and "b" at 19200 8N1; all units'):
        FAMILY.driver(devices, state_folder=Path())


def test_the_plan_shows_each_request_with_its_points() -> None:
    driver = FAMILY.driver(
        [
            device(
                unit=7,
                points=[
                    {"name": "speed", "address": "holding:0", "type": "uint16"},
                    {"name": "jammed", "address": "holding:12.3"},
                    {"name": "running", "address": "coil:0"},
                    {"name": "current", "address": "input:4", "type": "float32", "period": "250ms"},
                ],
            )
        ],
        state_folder=Path(),
    )
    assert [(p.period_s, p.request, p.addresses) for p in driver.plan()] == [
        (1.0, "unit 7 FC1 coil 0 (1 bit)", ("coil:0",)),
        (1.0, "unit 7 FC3 holding 0–12 (13 registers)", ("holding:0", "holding:12.3")),  # noqa: RUF001
        (0.25, "unit 7 FC4 input 4–5 (2 registers)", ("input:4",)),  # noqa: RUF001
    ]
    assert [group.names for group in driver.groups] == [("speed", "jammed", "running"), ("current",)]


def test_the_plan_shows_what_is_on_the_wire() -> None:
    driver = FAMILY.driver(
        [
            device(
                address_offset=-1,
                function_codes={"holding": 4},
                start_only_blocks=["holding:1500-1519"],
                points=[{"name": "speed", "address": "holding:1503", "type": "uint16"}],
            )
        ],
        state_folder=Path(),
    )
    (request,) = driver.plan()
    assert (request.request, request.addresses) == (
        "unit 1 FC4 holding 1499–1502 (4 registers)",  # noqa: RUF001
        ("holding:1503",),
    )


def test_validating_and_planning_does_not_import_pymodbus() -> None:
    import subprocess

    code = "import sys, drivers.modbus as m; assert m.FAMILY; print('pymodbus' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"
