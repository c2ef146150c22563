"""Encrypted connections to a real mosquitto, and what is said when they fail."""

from __future__ import annotations

import subprocess

import pytest

from gateway.config import TlsSettings
from gateway.mqtt import DestinationUnavailable


@pytest.fixture(scope="module")
def hub(authority):
    return authority("hub-authority")


@pytest.fixture(scope="module")
def server(hub):
    return hub.issue("server", host="DNS:localhost,IP:127.0.0.1")


def encrypted(mosquitto, hub, server, *options):
    """Start mosquitto with this certificate; its URL."""
    certificate, key = server
    mosquitto.options += [f"cafile {hub.ca}", f"certfile {certificate}", f"keyfile {key}", *options]
    mosquitto.start()
    return mosquitto.url.replace("mqtt:", "mqtts:")


async def test_a_trusted_broker_gets_the_messages(mosquitto, broker, collect, hub, server):
    url = encrypted(mosquitto, hub, server, "max_inflight_messages 0")
    async with broker(url, tls=TlsSettings(ca=hub.ca)).connect() as connection:
        for number in range(300):
            await connection.room()
            connection.publish("hub/a", b"x" * 1000, token=(number,))
        assert len(await collect(connection, 300)) == 300


async def test_a_client_certificate_is_shown(mosquitto, broker, collect, hub, server):
    url = encrypted(mosquitto, hub, server, "require_certificate true")
    certificate, key = hub.issue("gateway")
    async with broker(url, tls=TlsSettings(ca=hub.ca, certificate=certificate, key=key)).connect() as connection:
        connection.publish("hub/a", b"x", token=(1,))
        assert len(await collect(connection, 1)) == 1


async def test_a_missing_client_certificate_is_suspected(mosquitto, broker, hub, server):
    url = encrypted(mosquitto, hub, server, "require_certificate true")
    with pytest.raises(DestinationUnavailable, match="it may want a client certificate"):
        async with broker(url, tls=TlsSettings(ca=hub.ca)).connect():
            pass


async def test_another_authority_is_named_as_the_reason(mosquitto, broker, authority, hub, server):
    url = encrypted(mosquitto, hub, server)
    other = authority("other").ca
    with pytest.raises(DestinationUnavailable, match=rf"not trusted.*was not issued by tls\.ca \({other}\)") as refused:
        async with broker(url, tls=TlsSettings(ca=other)).connect():
            pass
    assert refused.value.needs_person


async def test_the_authorities_of_the_system_do_not_know_a_private_one(mosquitto, broker, hub, server):
    url = encrypted(mosquitto, hub, server)
    with pytest.raises(
        DestinationUnavailable, match=r"was not issued by the authorities of this system \(set tls\.ca\)"
    ):
        async with broker(url).connect():
            pass


async def test_a_certificate_for_another_host_is_named_as_the_reason(mosquitto, broker, hub):
    url = encrypted(mosquitto, hub, hub.issue("elsewhere", host="DNS:elsewhere.example"))
    with pytest.raises(DestinationUnavailable, match=r'certificate is not for "127\.0\.0\.1"'):
        async with broker(url, tls=TlsSettings(ca=hub.ca)).connect():
            pass


async def test_a_port_without_tls_says_so(mosquitto, scripted, broker):
    async def script(client):
        await client.reader.read(1)
        client.send(0x20, 2, 0, 1, 0, 0, 0, 0, 0)
        await client.reader.read()

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match=r"TLS handshake failed.*this port does not speak TLS"):
            async with broker(scripted.url.replace("mqtt:", "mqtts:")).connect():
                pass


async def test_a_broker_that_hangs_up_on_tls_says_so(mosquitto, broker):
    mosquitto.start()
    with pytest.raises(DestinationUnavailable, match="is this the broker's TLS port"):
        async with broker(mosquitto.url.replace("mqtt:", "mqtts:")).connect():
            pass


async def test_a_tls_port_spoken_to_without_tls_is_suspected(mosquitto, broker, hub, server):
    encrypted(mosquitto, hub, server)
    with pytest.raises(DestinationUnavailable, match="if this is the broker's TLS port, use mqtts://"):
        async with broker(mosquitto.url).connect():
            pass


async def test_a_key_that_does_not_belong_to_the_certificate_says_so(mosquitto, broker, hub, server):
    certificate, _ = hub.issue("gateway-2")
    with pytest.raises(DestinationUnavailable, match=r"cannot use the TLS files .*must belong to the certificate"):
        async with broker(
            "mqtts://127.0.0.1", tls=TlsSettings(ca=hub.ca, certificate=certificate, key=server[1])
        ).connect():
            pass


@pytest.fixture
def locked(server, tmp_path):
    """The key of `server`, with a passphrase."""
    key = tmp_path / "locked.key"
    lock = ["openssl", "pkey", "-in", server[1], "-aes256", "-passout", "pass:secret", "-out", key]
    subprocess.run(lock, check=True)
    return key


async def test_the_passphrase_of_a_key_is_not_asked_for(broker, hub, server, locked):
    files = TlsSettings(ca=hub.ca, certificate=server[0], key=locked)
    with pytest.raises(DestinationUnavailable, match=r"cannot use the TLS files .*the key has a passphrase") as refused:
        async with broker("mqtts://127.0.0.1", tls=files).connect():
            pass
    assert refused.value.needs_person
