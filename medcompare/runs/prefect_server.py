"""Which Prefect server a run will use, whether it answers, and that no proxy stands in between.

Everything here is found without importing Prefect, so that a wrong setting is refused in the
first second of a run: its settings alone take 1.4 s of processor time to import, and do not tell
in which file one was made.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import ssl
import tempfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from dotenv import dotenv_values

from medcompare.base.errors import ConfigError
from medcompare.base.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
"""In small or capital letters; the small ones win, for urllib and for httpx (which Prefect uses)."""
HTTP_SCHEMES, SOCKS_SCHEMES = frozenset({"http", "https"}), frozenset({"socks5", "socks5h"})
API_URL = "PREFECT_API_URL"
TEMPORARY_SERVER = "MEDCOMPARE_TEMPORARY_SERVER"
"""Set beside `API_URL` where the address is that of a run's own server: without pages and deployments."""
HEALTH_TIMEOUT_S = 20.0
"""A server that is busy may take seconds; one that is not there is noticed at once."""


class ServerError(ConfigError):
    """The Prefect server that is configured cannot be used.

    Parameters
    ----------
    detail : str
        What is wrong; names the setting and where it was made.
    remedy : str
        The commands that correct it.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}. {remedy[0].upper()}{remedy[1:]}.")
        self.detail, self.remedy = detail, remedy


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of Prefect and where it was made."""

    value: str
    origin: str
    """E.g. ``the profile 'local' in ~/.prefect/profiles.toml``."""
    unset: str
    """Command that removes it."""


# --- proxies -----------------------------------------------------------------------------------------


def proxies_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of `environment` that name a proxy, with their values."""
    return {name: value for name, value in environment.items() if name.lower() in PROXY_VARIABLES and value}


def bypasses_proxy(environment: Mapping[str, str]) -> bool:
    """Whether ``no_proxy`` keeps every address of this machine from being asked for through a proxy."""
    listed = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    hosts = {host.strip() for host in listed.split(",")}
    return "*" in hosts or hosts.issuperset(LOOPBACK_HOSTS)


def bypass_proxy(environment: MutableMapping[str, str]) -> None:
    """Add this machine to ``NO_PROXY`` and ``no_proxy``, which keep what the user put there.

    Call it before a client of Prefect is made, which reads them once. Does nothing where no
    proxy is set.
    """
    if not proxies_in(environment):
        return
    lower, upper = environment.get("no_proxy"), environment.get("NO_PROXY")
    for name, listed in (("no_proxy", lower if lower is not None else upper), ("NO_PROXY", upper or lower)):
        hosts = [host.strip() for host in (listed or "").split(",") if host.strip()]
        if "*" not in hosts:
            hosts += [host for host in LOOPBACK_HOSTS if host not in hosts]
        environment[name] = ",".join(hosts)


def check_proxies(environment: Mapping[str, str]) -> None:
    """Refuse a proxy that Prefect's client cannot use: it fails with any such variable set.

    Raises
    ------
    ServerError
        Naming the variable, never its value, which may hold a password.
    """
    for name, value in sorted(proxies_in(environment).items()):
        scheme = value.partition("://")[0].lower() if "://" in value else "http"
        if scheme in SOCKS_SCHEMES and importlib.util.find_spec("socksio") is None:
            detail = f"{name} names a SOCKS proxy, for which the package socksio is missing"
            raise ServerError(
                detail, f"install it (pip install socksio), or leave the proxy out: unset {name}"
            )
        if scheme not in HTTP_SCHEMES | SOCKS_SCHEMES:
            detail = f"{name} begins with {scheme}://, which is no kind of proxy that Prefect knows"
            raise ServerError(detail, f"write http:// or socks5://, or leave the proxy out: unset {name}")


# --- the server --------------------------------------------------------------------------------------


def prefect_setting(name: str, environment: Mapping[str, str], folder: Path) -> Setting | None:
    """Value of the setting `name`, such as ``PREFECT_API_URL``, and where it was made.

    Looks where Prefect looks, in its order: the environment, ``.env``, ``prefect.toml`` and
    ``pyproject.toml`` in `folder`, the active profile. None where it is nowhere.
    """
    if environment.get(name):
        return Setting(value=environment[name], origin=f"the variable {name}", unset=f"unset {name}")
    section, _, key = name.removeprefix("PREFECT_").lower().partition("_")
    in_files = [
        (dotenv_values(folder / ".env").get(name), folder / ".env"),
        (_at(_toml(folder / "prefect.toml"), section, key), folder / "prefect.toml"),
        (_at(_toml(folder / "pyproject.toml"), "tool", "prefect", section, key), folder / "pyproject.toml"),
    ]
    for value, path in in_files:
        if value:
            return Setting(value=str(value), origin=f"the file {path}", unset=f"remove it from {path}")
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    profiles = _toml(path)
    profile = environment.get("PREFECT_PROFILE") or str(profiles.get("active", "ephemeral"))
    value = _at(profiles, "profiles", profile, name)
    if value:
        origin = f"the profile '{profile}' in {path}"
        return Setting(value=str(value), origin=origin, unset=f"prefect config unset -y {name}")
    return None


def _at(values: object, *names: str) -> Any:  # noqa: ANN401 - any TOML value
    for name in names:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # Prefect itself says what is wrong with it


def check_server(environment: Mapping[str, str], folder: Path, *, timeout_s: float) -> str | None:
    """Version of the configured server; None where none is configured, or it does not tell.

    Parameters
    ----------
    environment : mapping of str to str
        Variables, as Prefect will see them.
    folder : Path
        Current folder: Prefect reads settings files there.
    timeout_s : float
        How long to wait for an answer, seconds.

    Raises
    ------
    ServerError
        If no server answers there, something other than Prefect does, it refuses the login, or it
        is of another major version.
    """
    setting = prefect_setting(API_URL, environment, folder)
    if setting is None:
        return None
    url = setting.value.rstrip("/")
    address = without_login(url)
    where = f"{API_URL} is {address}, set by {setting.origin}"
    own = f"or let each run start a server of its own: {setting.unset}"
    if not re.match(r"https?://", url):
        raise ServerError(where, f"write it like http://127.0.0.1:4200/api, {own}")
    login = _login(url, environment, folder)
    try:
        healthy = _get(f"{address}/health", login, environment, timeout_s)
    except urllib.error.HTTPError as error:
        remedy = (
            "check PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
            if error.code in (401, 403)
            else f"correct the address, it ends in /api, {own}"
        )
        detail = f"{where}, but answered {error.code}"
        raise ServerError(detail, remedy) from None
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        detail = f"{where}, but no Prefect server answers there ({reason})"
        raise ServerError(detail, f"start it (make serve, or prefect server start), {own}") from None
    if healthy.strip() == "false":
        detail = f"{where}; the server says it is not healthy"
        raise ServerError(detail, "look at its log")
    try:
        found = str(json.loads(_get(f"{address}/admin/version", login, environment, timeout_s)))
    except urllib.error.HTTPError:
        found = ""  # Prefect Cloud does not tell
    except (OSError, ValueError):
        detail = f"{where}, but what answers there is not Prefect"
        raise ServerError(detail, f"correct the address, it ends in /api, {own}") from None
    client = version("prefect")
    if found and found.partition(".")[0] != client.partition(".")[0]:
        detail = f"{where}; that server is Prefect {found}, and this one is {client}"
        raise ServerError(detail, f"name a server of the same version, {own}")
    return found or None


def check_prefect_home(environment: Mapping[str, str]) -> None:
    """Refuse a folder of Prefect that cannot be written: its own server would fail with a traceback.

    Raises
    ------
    ServerError
        Naming the folder and the variable that moves it.
    """
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        detail = f"Prefect keeps its database in {home}, which cannot be written ({error.strerror})"
        raise ServerError(detail, "name another folder: export PREFECT_HOME=/path/you/can/write") from None


def _login(url: str, environment: Mapping[str, str], folder: Path) -> str | None:
    in_url = urllib.parse.unquote(urllib.parse.urlsplit(url).netloc.rpartition("@")[0])
    setting = prefect_setting("PREFECT_API_AUTH_STRING", environment, folder)
    password = in_url or (setting.value if setting is not None else "")
    if password:
        return f"Basic {base64.b64encode(password.encode()).decode()}"
    key = prefect_setting("PREFECT_API_KEY", environment, folder)
    return None if key is None else f"Bearer {key.value}"


def _get(url: str, login: str | None, environment: Mapping[str, str], timeout_s: float) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - the scheme was checked
    if login is not None:
        request.add_header("Authorization", login)
    context = ssl.create_default_context(
        cafile=environment.get("PREFECT_API_SSL_CERT_FILE") or certifi.where()
    )
    if environment.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in {"1", "true"}:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    # A proxy for the internet must not be asked for a server on this machine.
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
        content: bytes = answer.read(10_000)
    return content.decode("utf-8", "replace")


def without_login(url: str) -> str:
    """`url` without the name and password in it."""
    return re.sub(r"//[^/@]*@", "//", url)
