"""MLflow's client, whose errors say what to do.

MLflow raises one class where a thing is missing and where nobody answers. Taken for each other, a server that is down
would look like a registry without a champion. So what is missing raises `NotThere`, and all else a `RegistryError`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from medcompare.base.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = {
    # Usage figures go nowhere, and nothing is drawn or printed between our lines.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"}
"""Half a minute, in which a server starts again; by itself MLflow tries for four minutes. The environment wins."""
_FIRST_CALL = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Of the first call: whoever mistyped an address learns it at once."""
_SIGN_IN = "give the user and the password as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_REFUSED = {
    "UNAUTHENTICATED": f"asks who you are: {_SIGN_IN}",
    "CUSTOMER_UNAUTHORIZED": f"asks who you are: {_SIGN_IN}",
    "PERMISSION_DENIED": f"refuses this user or this name of the server: {_SIGN_IN}, or let the server be called by "
    "this name (mlflow server --allowed-hosts)",
}
_NO_SERVER = (
    "answers, and not as an MLflow server: another program, another path or a proxy in between (NO_PROXY)"
)
_UNREACHED = {  # by classes of requests and urllib3 in the chain of causes; the narrower ones first
    "SSLError": "has no encryption, or a certificate that this machine does not trust (REQUESTS_CA_BUNDLE): check "
    "https:// and http://",
    "ProxyError": "is not let through by the proxy (HTTP_PROXY, NO_PROXY)",
    "NameResolutionError": "has a name that this machine does not know",
    "NewConnectionError": "does not answer: nobody listens there",
    "ResponseError": "answers with errors: it is too busy, or what it stands in front of is down",
    "ConnectTimeoutError": "is not reached in time",
    "ReadTimeoutError": "takes the call and does not answer",
    "ConnectionError": "went down in the middle of a call",
}


class NotThere(Exception):  # noqa: N818 - an answer, not an error
    """The registry answers, and has no such thing."""


def connect(uri: str) -> Any:  # noqa: ANN401 - of a library without types
    """MLflow's client of `uri`, every call of which raises only `NotThere` and `RegistryError`.

    Raises
    ------
    ConfigError
        If MLflow is not installed.
    """
    os.environ |= _SETTINGS
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        msg = "the registry needs MLflow: python -m pip install 'medcompare[registry]'"
        raise ConfigError(msg) from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a warning for every repetition
    with _translated(uri):
        return _Client(MlflowClient(tracking_uri=uri, registry_uri=uri), uri)


@contextlib.contextmanager
def first_call() -> Iterator[None]:
    """Within, MLflow gives up after seconds."""
    before = {name: os.environ.get(name) for name in _FIRST_CALL}
    os.environ |= _FIRST_CALL
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Client:
    """Passes calls on."""

    def __init__(self, client: Any, uri: str) -> None:  # noqa: ANN401 - of a library without types
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of a library without types
        call = getattr(self._client, name)

        @functools.wraps(call)
        def answered(*args: object, **kwargs: object) -> object:
            with _translated(self._uri):
                return call(*args, **kwargs)

        return answered


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Errors of MLflow, and of what it stands on, in our words; its own repeat whole answers of a proxy."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - of MLflow, requests, a database: none may get by
        if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
            raise NotThere from None
        msg = f"the registry {uri} {_what_is_wrong(error)}"
        raise RegistryError(msg) from None


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):  # the driver of a database
        return f"needs a package that is not there: python -m pip install {error.name}"
    code = str(getattr(error, "error_code", None))
    if code in _REFUSED:
        return _REFUSED[code]
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    reasons = names | {type(getattr(one, "reason", None)).__name__ for one in chain}
    for kind, said in _UNREACHED.items():
        if kind in reasons:
            return f"{said}. Check registry.uri, or start the server, and give the command again"
    if "RestException" in names:  # in the words of MLflow
        return f"reports {code}: its log says why"
    if code == "ENDPOINT_NOT_FOUND" or "<html" in str(error).lower() or "JSON" in str(error):
        return f"{_NO_SERVER}. Check registry.uri"
    classes = ", ".join(dict.fromkeys(type(one).__name__ for one in chain))  # which hold no data
    return f"cannot be used ({classes}): its log says why; check registry.uri"
