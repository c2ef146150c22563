"""`security:` of an OPC UA device: how the line is protected, and who we say we are."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from drivers.settings import ReadableFile, StrictModel


class Policy(StrEnum):
    """Security policies of OPC UA Part 7 that are not deprecated."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSA_OAEP = "Aes128Sha256RsaOaep"
    AES256_SHA256_RSA_PSS = "Aes256Sha256RsaPss"


class Mode(StrEnum):
    """What the secure channel does with every message."""

    SIGN = "Sign"
    SIGN_AND_ENCRYPT = "SignAndEncrypt"


class SecuritySettings(StrictModel):
    """With a policy, the server must be trusted: `hub-gateway opcua trust`. Without a login we are anonymous."""

    policy: Policy = Field(
        default=Policy.NONE, description="None | Basic256Sha256 | Aes128Sha256RsaOaep | Aes256Sha256RsaPss"
    )
    mode: Mode | None = Field(
        default=None, description="Sign | SignAndEncrypt; SignAndEncrypt unless set, where there is a policy"
    )
    user: str | None = Field(default=None, min_length=1, description="the name to log in with")
    password: SecretStr | None = Field(default=None, description="the password of user")
    user_certificate: ReadableFile | None = Field(
        default=None, description="the certificate to log in with, PEM or DER; instead of user"
    )
    user_key: ReadableFile | None = Field(default=None, description="the private key of user_certificate, PEM or DER")

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.policy is Policy.NONE and self.mode is not None:
            raise ValueError("mode has no effect without a policy; add for example policy: Basic256Sha256")
        if self.password is not None and self.user is None:
            raise ValueError("a password has no effect without a user; add user:")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key go together; add the other one")
        if self.user is not None and self.user_certificate is not None:
            raise ValueError("user and user_certificate are two ways to log in; remove one of them")
        if self.policy is Policy.NONE and self.user_certificate is not None:
            raise ValueError("a login with user_certificate needs a policy; add for example policy: Basic256Sha256")
        return self

    @property
    def effective_mode(self) -> Mode | None:
        """None where there is no policy."""
        return None if self.policy is Policy.NONE else self.mode or Mode.SIGN_AND_ENCRYPT

    def __str__(self) -> str:
        """What a person would call it. No secrets."""
        words = [self.policy.value] if self.policy is Policy.NONE else [self.policy.value, str(self.effective_mode)]
        if self.user is not None:
            words.append(f"as {self.user}")
        if self.user_certificate is not None:
            words.append(f"as {self.user_certificate.name}")
        return " ".join(words)
