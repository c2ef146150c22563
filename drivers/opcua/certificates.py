"""Who the gateway is to OPC UA servers, and which servers it trusts: a folder of files that people may look into.

    own/identity.pem        the gateway's private key and certificate, made on first use, mode 0600
    own/certificate.der     the certificate alone, for servers that must be told to trust it
    trusted/                certificates of servers that are trusted, DER or PEM under any name
    rejected/               the certificate that each untrusted server showed last

A certificate is trusted as it is (pinned), not because somebody has signed it. Blocking; the first use makes a key.
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from drivers.opcua.endpoint import Endpoint

_KEY_BITS = 2048
"""Every policy that we speak takes 2048 to 4096 bits (Part 7, 6.6)."""
_VALID_FOR = timedelta(days=20 * 365)
_CLOCK_IS_WRONG_BEFORE = datetime(2025, 1, 1, tzinfo=UTC)


class ClockNotSet(Exception):
    """No certificate can be made while nobody knows what time it is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The application certificate of the gateway, with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    uri: str
    """The application URI: the one in the certificate (Part 6, 6.2.2)."""
    file: Path
    """The certificate, for people to copy."""


def default_uri() -> str:
    """The application URI of a gateway without a certificate, and of the one that it will have."""
    return f"urn:{socket.gethostname()}:hub-gateway"


class CertificateFolder:
    """The folder. Nothing is read or written before a method is called."""

    def __init__(self, folder: Path) -> None:
        self._own = folder / "own"
        self._trusted = folder / "trusted"
        self._rejected = folder / "rejected"

    def identity(self, *, now: datetime) -> Identity:
        """Who we are; made where there is nobody yet.

        Raises OSError, ValueError for a file that holds something else, and `ClockNotSet`.
        """
        file = self._own / "identity.pem"
        if not file.exists():
            if now < _CLOCK_IS_WRONG_BEFORE:
                raise ClockNotSet
            _create(file, _new_identity(default_uri(), now))
        pem = file.read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{file} holds a key that is not RSA")  # noqa: TRY004  what is wrong is the file
        certificate = x509.load_pem_x509_certificate(pem)
        if not (uris := application_uris(certificate)):
            raise ValueError(f"{file} holds a certificate without an application URI")
        copy = self._own / "certificate.der"
        if not copy.exists():
            _replace(copy, der(certificate))
        return Identity(certificate, key, uris[0], copy)

    def trusts(self, certificate: x509.Certificate) -> bool:
        """Whether exactly this certificate lies in the folder of trusted ones."""
        if not self._trusted.is_dir():
            return False
        return any(_is(file, certificate) for file in sorted(self._trusted.iterdir()) if file.is_file())

    def trust(self, certificate: x509.Certificate, endpoint: Endpoint) -> Path:
        """Trust it from now on. Returns where it was put."""
        file = self._trusted / f"{_file_name(endpoint)}-{fingerprint(certificate)[:8].lower()}.der"
        _replace(file, der(certificate))
        (self._rejected / f"{_file_name(endpoint)}.der").unlink(missing_ok=True)
        return file

    def reject(self, certificate: x509.Certificate, endpoint: Endpoint) -> Path:
        """Keep it for a person to look at, in place of what this server showed before. Returns where it was put."""
        file = self._rejected / f"{_file_name(endpoint)}.der"
        if not _is(file, certificate):
            _replace(file, der(certificate))
        return file


def application_uris(certificate: x509.Certificate) -> list[str]:
    """The URIs among its alternative names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes on the wire."""
    return certificate.public_bytes(serialization.Encoding.DER)


def load_certificate(data: bytes) -> x509.Certificate:
    """PEM or DER. Raises ValueError."""
    return x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)


def _is(file: Path, certificate: x509.Certificate) -> bool:
    try:
        return load_certificate(file.read_bytes()) == certificate
    except (FileNotFoundError, ValueError):  # nothing, or somebody's notes
        return False


def _file_name(endpoint: Endpoint) -> str:
    host = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in endpoint.host)
    return f"{host}_{endpoint.port}"


def _new_identity(uri: str, now: datetime) -> bytes:
    """Key and self-signed certificate as Part 6, 6.2.2 asks for them, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hub-gateway@{host}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # it signs itself
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(host)])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _create(file: Path, data: bytes) -> None:
    """Whole or not at all; of two that do it at once the first one counts."""
    temporary = _written(file, data)
    try:
        os.link(temporary, file)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _replace(file: Path, data: bytes) -> None:
    """Whole or not at all; the last one counts."""
    _written(file, data).replace(file)


def _written(file: Path, data: bytes) -> Path:
    """A file beside it that holds the data on the disk; only the owner may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return Path(name)
