"""Making sure of a server before anything secret is said to it, and saying who we are."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import uacrypto
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from drivers.opcua import certificates, failure
from drivers.opcua.certificates import CertificateFolder, ClockNotSet, Identity
from drivers.opcua.client import MODES, POLICIES, Access, endpoints_of, security_of

_log = logging.getLogger(__name__)


async def secure(client: Client, access: Access) -> str:
    """Make sure of the server and give the client our certificate. Returns the file with it.

    Raises `DeviceUnavailable`.
    """
    folder = CertificateFolder(access.folder)
    try:
        identity = await asyncio.to_thread(folder.identity, now=datetime.now(UTC))
    except ClockNotSet:
        raise failure.clock_not_set(access.name) from None
    except (OSError, ValueError) as error:
        raise failure.files(access.name, error) from error
    description = _offer(access, await endpoints_of(access))
    try:
        certificate = certificate_of(description)
        _check(certificate, description, access, folder)
        _use(client, access, identity, certificate)
    except ValueError as error:
        raise failure.cannot_connect(access.name, "reading its certificate", error, timeout_s=0) from error
    except OSError as error:
        raise failure.files(access.name, error) from error
    return str(identity.file)


async def load_user(client: Client, access: Access) -> None:
    """Give the client the certificate to log in with. Raises `DeviceUnavailable`."""
    security = access.security
    assert security.user_certificate is not None
    assert security.user_key is not None
    try:
        certificate = await asyncio.to_thread(security.user_certificate.read_bytes)
        key = await asyncio.to_thread(security.user_key.read_bytes)
        client.user_certificate = certificates.load_certificate(certificate)
        is_pem = b"-----BEGIN" in key
        load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
        client.user_private_key = load(key, password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: the key has a password
        raise failure.files(access.name, error) from error
    if not isinstance(client.user_private_key, rsa.RSAPrivateKey):
        raise failure.files(access.name, ValueError(f"{security.user_key} is not an RSA key"))


def certificate_of(description: ua.EndpointDescription) -> x509.Certificate | None:
    """The server's own certificate, the first of its chain. Raises ValueError for what is none."""
    found: x509.Certificate | None = uacrypto.x509_from_der(description.ServerCertificate)  # type: ignore[no-untyped-call]
    return found


def _offer(access: Access, offers: list[ua.EndpointDescription]) -> ua.EndpointDescription:
    """The endpoint with the wanted security."""
    security = access.security
    for offer in offers:
        if (
            offer.SecurityPolicyUri == POLICIES[security.policy].URI
            and offer.SecurityMode is MODES[security.effective_mode]
            and (offer.EndpointUrl or "").startswith("opc.tcp:")
        ):
            return offer
    offered = ", ".join(dict.fromkeys(security_of(offer) for offer in offers)) or "nothing"
    raise failure.not_offered(access.name, f"{security.policy} {security.effective_mode}", offered)


def _check(
    certificate: x509.Certificate | None,
    description: ua.EndpointDescription,
    access: Access,
    folder: CertificateFolder,
) -> None:
    """The checks of Part 4, 6.1.3 that make sense for a pinned certificate: is it the one, is it in date.

    That its URI is not the server's was shown to the person who trusted it, so it is worth a warning, no more.
    """
    if certificate is None:
        raise ValueError("it shows none")
    if not folder.trusts(certificate):
        file = folder.reject(certificate, access.endpoint)
        raise failure.untrusted(
            access.name, certificates.fingerprint(certificate), str(file), state=str(access.folder.parent)
        )
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise failure.out_of_date(access.name, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    uris, uri = certificates.application_uris(certificate), description.Server.ApplicationUri
    if uri not in uris:
        _log.warning(
            "%s: the server calls itself %s, and its trusted certificate is of %s; renew that certificate",
            access.name,
            uri,
            ", ".join(uris) or "nobody",
        )


def _use(client: Client, access: Access, identity: Identity, certificate: x509.Certificate | None) -> None:
    """Raises ValueError for a server's key that the policy does not take."""
    security = access.security
    policy = POLICIES[security.policy](certificate, identity.certificate, identity.key, MODES[security.effective_mode])
    client.application_uri = identity.uri
    client.security_policy = policy  # type: ignore[assignment]  # inferred from its default
    client.uaclient.set_security(policy)
