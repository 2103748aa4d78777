"""Settings of the mail are right before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import checked_address
from medcompare.notify.settings import checked_mail_config, mail_config_from_environment
from tests.notify.mail_servers import (
    PASSWORD,
    USER,
    config,
)


@pytest.mark.parametrize(
    "address",
    [
        "board@hospital.example",
        "a.b+c@x-y.example",
        "root@localhost",
        "o'brien@h.example",
        "x@xn--mnchen-3ya.example",
    ],
)
def test_good_addresses(address: str) -> None:
    """Ordinary addresses pass as they are."""
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "board",
        "board@",
        "@hospital.example",
        "a b@hospital.example",
        "a..b@hospital.example",
        ".a@hospital.example",
        "a@hospital..example",
        "a@-hospital.example",
        "Board <board@hospital.example>",
        "a@b.example, c@d.example",
        "a@b.example;c@d.example",
        "a@münchen.example",
        "board@hospital.example\r\nBcc: spy@evil.example",
        "board@hospital.example\n",
        "board\r@hospital.example",
        "board@hospital.example\x00",
        "a" * 65 + "@hospital.example",
        "a@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 60 + "." + "f" * 30,
        "",
    ],
)
def test_bad_addresses_are_refused_everywhere(address: str) -> None:
    """No injection, no list in one address, no nonsense: as recipient and as sender."""
    with pytest.raises(ValueError, match=r"is not an e-mail address"):
        checked_address(address)
    with pytest.raises(ValidationError, match="recipients"):
        config(25, recipients=(address,))
    with pytest.raises(ValidationError, match="sender"):
        config(25, sender=address)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"username": "u"}, "belong together"),
        ({"host": "mail.example", "username": "u", "password": "p"}, "would send the password in clear"),
        ({"recipients": ("a@b.example", "A@B.example")}, "named twice"),
        ({"recipients": ()}, "recipients"),
        ({"host": "bad host\r\n"}, "not the name or address of a mail server"),
        ({"when": ("sometimes",)}, "when"),
        ({"port": 0}, "port"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    """Each with the field and the reason."""
    with pytest.raises(ValidationError, match=message):
        config(25, **values) if "port" not in values else config(**values)


def test_the_password_is_never_shown() -> None:
    """Neither the representation nor JSON holds it."""
    mail_config = config(25, username=USER, password=PASSWORD)

    assert isinstance(mail_config.password, SecretStr)
    for shown in (
        repr(mail_config),
        str(mail_config),
        mail_config.model_dump_json(),
        str(mail_config.model_dump()),
    ):
        assert PASSWORD not in shown


def test_settings_come_from_the_environment() -> None:
    """Lists between commas, usual ports, empty values as not set."""
    environment = {
        "MEDCOMPARE_SMTP_HOST": "mail.example",
        "MEDCOMPARE_SMTP_SECURITY": "tls",
        "MEDCOMPARE_SMTP_USERNAME": USER,
        "MEDCOMPARE_SMTP_PASSWORD": PASSWORD,
        "MEDCOMPARE_SMTP_SENDER": "reports@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "a@b.example, c@d.example",
        "MEDCOMPARE_SMTP_WHEN": "verdict_change,failure",
        "MEDCOMPARE_SMTP_CA_FILE": "",
        "PATH": "/usr/bin",
    }

    found = mail_config_from_environment(environment)

    assert found is not None
    assert (found.port, found.security, found.ca_file) == (465, "tls", None)
    assert found.recipients == ("a@b.example", "c@d.example")
    assert found.when == ("verdict_change", "failure")
    assert found.password is not None
    assert found.password.get_secret_value() == PASSWORD
    assert mail_config_from_environment({"PATH": "/usr/bin", "MEDCOMPARE_SMTP_HOST": ""}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MEDCOMPARE_SMTP_HOST": ""}, "not MEDCOMPARE_SMTP_HOST"),
        ({"MEDCOMPARE_SMTP_SENDER": ""}, "MEDCOMPARE_SMTP_SENDER: Field required"),
        ({"MEDCOMPARE_SMTP_PORT": "many"}, "MEDCOMPARE_SMTP_PORT: "),
        (
            {"MEDCOMPARE_SMTP_SECURTY": "tls"},
            "MEDCOMPARE_SMTP_SECURTY: no such setting; known: MEDCOMPARE_SMTP_HOST",
        ),
        ({"MEDCOMPARE_SMTP_PASSWORD": PASSWORD}, "belong together"),
    ],
)
def test_bad_environment_names_the_variable(changes: dict[str, str], message: str) -> None:
    """The message names the variable and never quotes the password."""
    environment = {
        "MEDCOMPARE_SMTP_HOST": "mail.example",
        "MEDCOMPARE_SMTP_SENDER": "reports@hospital.example",
        "MEDCOMPARE_SMTP_RECIPIENTS": "a@b.example",
    }

    with pytest.raises(ConfigError, match=message) as caught:
        mail_config_from_environment(environment | changes)

    assert PASSWORD not in str(caught.value)


BLOCK: dict[str, Any] = {
    "host": "mail.example",
    "sender": "reports@hospital.example",
    "recipients": ["a@b.example"],
}


@pytest.mark.parametrize(
    ("values", "port"),
    [
        ({}, 587),
        ({"security": "starttls"}, 587),
        ({"security": "tls"}, 465),
        ({"security": "none"}, 25),
        ({"security": "tls", "port": 2465}, 2465),
    ],
)
def test_without_a_port_the_usual_one_is_taken(values: dict[str, Any], port: int) -> None:
    """Each kind of encryption has a port of its own; one that is given wins."""
    found = checked_mail_config(BLOCK | values, prefix="medcompare-mail: ")

    assert found.port == port
    assert found.security == values.get("security", "starttls")
    assert (found.recipients, found.when) == (("a@b.example",), ("always",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipients": []}, r"^medcompare-mail: recipients: Tuple should have at least 1 item"),
        ({"sender": "nobody"}, r"^medcompare-mail: sender: 'nobody' is not an e-mail address"),
        ({"security": "ssl"}, r"^medcompare-mail: security: Input should be 'starttls', 'tls' or 'none'"),
        ({"hots": "x"}, r"^medcompare-mail: hots: no such setting; known: medcompare-mail: host, "),
        ({"username": USER}, r"username and password belong together"),
        ({"password": SecretStr(PASSWORD)}, r"username and password belong together"),
        (
            {"security": "none", "username": USER, "password": SecretStr(PASSWORD)},
            r"would send the password in clear to mail\.example",
        ),
    ],
)
def test_settings_of_a_block_are_named_as_they_are_there(changes: dict[str, Any], message: str) -> None:
    """In small letters, behind the name of the block; a password is never quoted."""
    with pytest.raises(ConfigError, match=message) as caught:
        checked_mail_config(BLOCK | changes, prefix="medcompare-mail: ")

    assert PASSWORD not in str(caught.value)


def test_every_problem_of_the_settings_has_a_line() -> None:
    """Capitals where the environment gave them in capitals."""
    with pytest.raises(ConfigError, match="HOST") as caught:
        checked_mail_config({"recipients": ("a@b.example",)}, prefix="MEDCOMPARE_SMTP_", upper=True)

    assert str(caught.value).splitlines() == [
        "MEDCOMPARE_SMTP_HOST: Field required",
        "MEDCOMPARE_SMTP_SENDER: Field required",
    ]
