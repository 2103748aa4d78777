"""Where reports are mailed, and when: validated before anything is sent.

The password is a `SecretStr`: it comes from the environment or from the orchestrator's
secret block, and appears in no log, no representation and no JSON.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import Address, is_host, is_loopback, split_at_commas
from medcompare.base.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

Security = Literal["starttls", "tls", "none"]
When = Literal["always", "verdict_change", "failure"]

ENVIRONMENT_PREFIX = "MEDCOMPARE_SMTP_"
USUAL_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}


def _checked_host(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not is_host(text):
            msg = f"{text!r} is not the name or address of a mail server"
            raise ValueError(msg) from None
    return text


class MailConfig(Record):
    """How reports are mailed."""

    host: Annotated[str, AfterValidator(_checked_host)] = Field(description="Mail server (SMTP).")
    port: int = Field(ge=1, le=65535, description="Usually 587 with starttls, 465 with tls, 25 without.")
    security: Security = Field(
        default="starttls",
        description="'starttls': plain connection that turns encrypted, refused where the server cannot; "
        "'tls': encrypted from the start; 'none': in clear.",
    )
    username: str | None = Field(default=None, description="Name to log in with; not set: no login.")
    password: SecretStr | None = Field(
        default=None, description="From the environment or a secret block only."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the server's certificate; not set: the system's.",
    )
    sender: Address = Field(description="Address the mail comes from.")
    recipients: tuple[Address, ...] = Field(min_length=1, max_length=100, description="Who receives it.")
    when: tuple[When, ...] = Field(
        default=("always",),
        min_length=1,
        description="'always': after every run; 'verdict_change': when the recommendation changed, "
        "or is the first; 'failure': when a run failed.",
    )
    max_attachment_bytes: int = Field(
        default=10_000_000, ge=0, le=1_000_000_000, description="A larger PDF is linked instead of attached."
    )
    timeout_s: float = Field(default=30.0, gt=0, le=600, description="Longest wait for the server, seconds.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.username is None) != (self.password is None):
            msg = "username and password belong together: give both, or neither"
            raise ValueError(msg)
        if self.password is not None and self.security == "none" and not is_loopback(self.host):
            msg = (
                f"security 'none' would send the password in clear to {self.host}: "
                "use 'starttls' or 'tls', or leave username and password out"
            )
            raise ValueError(msg)
        if len({address.lower() for address in self.recipients}) != len(self.recipients):
            msg = f"a recipient is named twice in {', '.join(self.recipients)}"
            raise ValueError(msg)
        return self


def mail_config_from_environment(environment: Mapping[str, str]) -> MailConfig | None:
    """Settings from ``MEDCOMPARE_SMTP_*``; None where none of them is set.

    The names are those of the fields of `MailConfig` in capitals; ``RECIPIENTS`` and ``WHEN``
    hold several values between commas. Empty values count as not set.

    Raises
    ------
    ConfigError
        Naming the variable and what is wrong; a secret's value is never quoted.
    """
    given = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value.strip()
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and value.strip()
    }
    if not given:
        return None
    if "host" not in given:
        named = ", ".join(sorted(ENVIRONMENT_PREFIX + name.upper() for name in given))
        msg = f"{named} set, but not {ENVIRONMENT_PREFIX}HOST: set it, or none of them"
        raise ConfigError(msg)
    values: dict[str, Any] = dict(given)
    for name in ("recipients", "when"):
        if name in values:
            values[name] = split_at_commas(values[name])
    return checked_mail_config(values, prefix=ENVIRONMENT_PREFIX, upper=True)


def checked_mail_config(values: Mapping[str, Any], *, prefix: str, upper: bool = False) -> MailConfig:
    """Settings from `values` by field; without a port, the usual one of the kind of encryption.

    In messages `prefix` is put before the name of a field, in capitals if `upper`.

    Raises
    ------
    ConfigError
        Naming the field and what is wrong; a secret's value is never quoted.
    """
    usual = USUAL_PORTS.get(values.get("security", "starttls"), 587)
    try:
        return MailConfig.model_validate({"port": usual, **values})
    except ValidationError as error:
        names = {
            field: prefix + (field.upper() if upper else field)
            for field in (*MailConfig.model_fields, *values)
        }
        lines = []
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = (
                    f"no such setting; known: {', '.join(names[field] for field in MailConfig.model_fields)}"
                )
            lines.append(f"{names[str(problem['loc'][0])] if problem['loc'] else prefix}: {message}")
        raise ConfigError("\n".join(lines)) from None
