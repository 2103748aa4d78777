"""Mail settings as a Prefect block: filled in in the UI, the password kept encrypted."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr

from medcompare.notify.settings import MailConfig, checked_mail_config

BLOCK_NAME = "report"
"""Name that a filled-in block must have to be found."""


class MedcompareMail(Block):
    """Where reports are mailed; the fields are those of `medcompare.notify.settings.MailConfig`."""

    _block_type_name = "medcompare mail"
    _block_type_slug = "medcompare-mail"
    _description = f"Where medcompare mails its reports. Name the block '{BLOCK_NAME}'."

    host: str = Field(description="Mail server (SMTP).")
    port: int | None = Field(
        default=None, description="Empty: 587 with starttls, 465 with tls, 25 with none."
    )
    security: Literal["starttls", "tls", "none"] = Field(default="starttls", description="Encryption.")
    username: str | None = Field(default=None, description="Name to log in with; empty: no login.")
    password: SecretStr | None = Field(default=None, description="Kept encrypted by the server.")
    ca_file: str | None = Field(
        default=None, description="PEM file of your own authority, on the worker's machine."
    )
    sender: str = Field(description="Address the mail comes from.")
    recipients: list[str] = Field(description="Who receives it.")
    when: list[Literal["always", "verdict_change", "failure"]] = Field(
        default=["always"], description="When to mail."
    )
    max_attachment_bytes: int = Field(
        default=10_000_000, description="A larger PDF is linked instead of attached."
    )
    timeout_s: float = Field(default=30.0, description="Longest wait for the server, seconds.")


def mail_config_from_block() -> MailConfig | None:
    """Settings of the block ``medcompare-mail/report``; None where nobody has filled it in.

    Raises
    ------
    ConfigError
        Naming the field and what is wrong; a secret's value is never quoted.
    """
    try:
        block = MedcompareMail.load(BLOCK_NAME)
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound) or "Unable to find block" in str(error):
            return None
        raise
    values = {name: getattr(block, name) for name in MailConfig.model_fields}
    return checked_mail_config(
        {name: value for name, value in values.items() if value not in (None, "")}, prefix="medcompare-mail: "
    )
