"""Modbus in TLS ("MODBUS/TCP Security" V21): who the server must be, and who we are."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from drivers.settings import StrictModel


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("must be the name of a file")
    return value


def _readable(path: Path, info: ValidationInfo) -> Path:
    """Relative to the folder of the config file, which the loader gives as context; not looked at without one."""
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None:
        return path
    path = folder / path
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


File = Annotated[
    Path, BeforeValidator(_named), AfterValidator(_readable), WithJsonSchema({"type": "string", "minLength": 1})
]


class ModbusTlsSettings(StrictModel):
    """Files in PEM format for `tls://`. The standard asks both ends for a certificate."""

    ca: File | None = Field(
        default=None, description="certificates that the device's own is checked against; the system's when absent"
    )
    certificate: File | None = Field(default=None, description="the gateway's own certificate, with its chain")
    key: File | None = Field(
        default=None, description="the private key of certificate; absent when it stands in the same file"
    )
    server_name: str | None = Field(
        default=None, min_length=1, description="the name in the device's certificate, where it is not that of the url"
    )
    verify: bool = Field(
        default=True, description="false: anybody may be the device, so that readings and commands can be forged"
    )

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key has no effect without a certificate; add certificate:")
        if not self.verify and self.ca is not None:
            raise ValueError("ca has no effect with verify: false; remove one of them")
        return self

    @property
    def files(self) -> str:
        """The files as a person would list them."""
        return ", ".join(str(name) for name in (self.ca, self.certificate, self.key) if name is not None)

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later. Reads the files; raises OSError, of which `ssl.SSLError` is one, for what it cannot use."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        return context


def _no_password() -> str:
    """Where OpenSSL would ask the terminal: nobody is there to answer."""
    return ""
