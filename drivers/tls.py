"""Who the other end of an encrypted link must be, and who we are: the `tls:` of every family that can encrypt."""

from __future__ import annotations

import ssl
from typing import Self

from pydantic import Field, model_validator

from drivers.settings import ReadableFile, StrictModel


class DeviceTlsSettings(StrictModel):
    """Files in PEM format. "MODBUS/TCP Security" V21 asks both ends for a certificate, LLRP leaves it to the reader."""

    ca: ReadableFile | None = Field(
        default=None,
        description="certificates that the device's own is checked against (a self-signed one is its own authority); "
        "the system's when absent",
    )
    certificate: ReadableFile | None = Field(
        default=None, description="the gateway's own certificate, with its chain, where the device asks for one"
    )
    key: ReadableFile | None = Field(
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
        """The name has one with `verify: false` too: it is told to the device, which may have several certificates."""
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
