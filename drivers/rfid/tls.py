"""LLRP over TLS (port 5085): who the reader must be, and who we are."""

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


class TlsSettings(StrictModel):
    """Files in PEM format for `llrps://`."""

    ca: File | None = Field(
        default=None,
        description="certificates that the reader's own is checked against (a self-signed one is its own authority); "
        "the system's when absent",
    )
    certificate: File | None = Field(
        default=None, description="the gateway's own certificate, when the reader asks for one"
    )
    key: File | None = Field(
        default=None, description="the private key of certificate; absent when it stands in the same file"
    )
    server_name: str | None = Field(
        default=None, min_length=1, description="the name in the reader's certificate, where it is not that of the url"
    )
    verify: bool = Field(default=True, description="false: anybody may be the reader, so that tags can be forged")

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key has no effect without a certificate; add certificate:")
        if not self.verify and (self.ca is not None or self.server_name is not None):
            raise ValueError("ca and server_name have no effect with verify: false; remove them, or verify")
        return self

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later. Reads the files; raises OSError, of which `ssl.SSLError` is one, for what it cannot use."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            # Without a password OpenSSL would ask for one on the terminal and hold up everything.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        return context
