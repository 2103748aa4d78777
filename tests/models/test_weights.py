"""Pretrained weights: found in order, verified, downloaded whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import torch

from medcompare.base.artifacts import sha256_of_bytes, sha256_of_file
from medcompare.base.errors import ConfigError, WeightsError
from medcompare.config.train import RecipeOverride, TrainConfig
from medcompare.models import weights
from medcompare.models.registry import build_model
from medcompare.models.spec import WeightsFile
from medcompare.models.weights import download, ensure_weights, find_weights, hub_folder
from medcompare.models.zoo import MODELS
from tests.web import QuietHandler, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medcompare.models.spec import ModelSpec

NOWHERE = "http://127.0.0.1:9/models"


@pytest.fixture(autouse=True)
def own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of the test's own; nothing is looked for in the user's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return hub_folder()


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A real file of weights of the test network, with its 1000-class head."""
    path = tmp_path / "made.pth"
    torch.manual_seed(4)
    torch.save(MODELS["test_cnn"].build().state_dict(), path)
    return path.read_bytes()


@pytest.fixture
def mini(content: bytes, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """An entry of the table that publishes that file, at an address where nothing answers."""
    return register(content, NOWHERE, monkeypatch)


def register(content: bytes, address: str, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Put a network named mini into the table for the time of a test."""
    prefix = sha256_of_bytes(content)[:8]
    file = WeightsFile(name="Mini_Weights.V1", url=f"{address}/mini-{prefix}.pth", sha256_prefix=prefix)
    spec = replace(MODELS["test_cnn"], name="mini", weights={"V1": file})
    monkeypatch.setitem(MODELS, "mini", spec)
    return spec


def put(folder: Path, spec: ModelSpec, content: bytes) -> Path:
    """The published file of `spec` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / spec.weights["V1"].filename
    path.write_bytes(content)
    return path


class Answers(QuietHandler):
    """Serves `payload`, claiming `claimed` bytes."""

    payload = b""
    claimed: int | None = None

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer every request alike."""
        self.answer(200, self.payload, Content_Length=str(self.claimed or len(self.payload)))


@pytest.fixture
def server() -> Iterator[tuple[type[Answers], str]]:
    """A web server on this machine and its address."""
    handler = type("Handler", (Answers,), {})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield handler, address


def test_the_hub_folder_is_torchs_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For each of the variables torch looks at."""
    assert str(hub_folder()) == f"{torch.hub.get_dir()}/checkpoints"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert str(hub_folder()) == f"{torch.hub.get_dir()}/checkpoints"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert str(hub_folder()) == f"{torch.hub.get_dir()}/checkpoints"


def test_the_weights_dir_comes_before_the_hub_cache(mini: ModelSpec, content: bytes, tmp_path: Path) -> None:
    """Found, verified, its full digest recorded; None where there is nothing."""
    assert find_weights(mini, "V1", tmp_path) is None
    in_hub = put(hub_folder(), mini, content)
    found = find_weights(mini, "V1", tmp_path)
    assert found is not None
    assert (found[0], found[1].source) == (in_hub, "torch hub cache")
    in_folder = put(tmp_path / "mine", mini, content)
    found = find_weights(mini, "V1", tmp_path / "mine")
    assert found is not None

    path, initial = found
    assert path == in_folder
    assert initial.model_dump() == {
        "kind": "imagenet",
        "name": "Mini_Weights.V1",
        "version": "V1",
        "sha256": sha256_of_bytes(content),
        "source": "weights-dir",
        "licence": "unknown",
    }


def test_found_weights_reach_the_network(mini: ModelSpec, content: bytes, tmp_path: Path) -> None:
    """From the folder into every layer but the head."""
    put(tmp_path / "mine", mini, content)
    resolved = ensure_weights(["mini"], TrainConfig(weights_dir=tmp_path / "mine"))["mini"]
    torch.manual_seed(4)
    expected = MODELS["test_cnn"].build().state_dict()
    network = build_model(mini, seed=0, weights_path=resolved.path)

    assert torch.equal(network.state_dict()["convolution_2.weight"], expected["convolution_2.weight"])


def test_where_the_weights_lie_is_not_part_of_their_identity(
    mini: ModelSpec, content: bytes, tmp_path: Path
) -> None:
    """A training from the folder and one from the cache are the same training."""
    put(tmp_path / "mine", mini, content)
    put(hub_folder(), mini, content)
    a = ensure_weights(["mini"], TrainConfig(weights_dir=tmp_path / "mine"))["mini"]
    b = ensure_weights(["mini"], TrainConfig())["mini"]

    assert a != b
    assert a.identity == b.identity
    assert ensure_weights(["mini"], TrainConfig(initial_weights="none"))["mini"].identity != a.identity


def test_an_altered_file_is_refused(mini: ModelSpec, content: bytes) -> None:
    """Both digests and the remedy; nothing is loaded."""
    path = put(hub_folder(), mini, content[:-1] + b"x")
    begins = sha256_of_file(path)[:8]

    with pytest.raises(WeightsError, match=rf"{path.name} is not Mini_Weights.V1: .*{begins}.*Delete it"):
        ensure_weights(["mini"], TrainConfig())


def test_unreachable_weights_stop_before_any_work(mini: ModelSpec, tmp_path: Path) -> None:
    """File, address, folder and the alternative are named; no part of a file is left."""
    with pytest.raises(WeightsError) as caught:
        ensure_weights(["mini"], TrainConfig(weights_dir=tmp_path))

    message = str(caught.value)
    file = mini.weights["V1"]
    for part in (
        file.filename,
        file.url,
        str(tmp_path),
        str(hub_folder()),
        "--set train.initial_weights=none",
    ):
        assert part in message
    assert list(hub_folder().iterdir()) == []


def test_all_missing_files_are_named_at_once(mini: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message for two models."""
    other = replace(mini.weights["V1"], url=f"{NOWHERE}/other-{mini.weights['V1'].sha256_prefix}.pth")
    monkeypatch.setitem(MODELS, "other", replace(mini, name="other", weights={"V1": other}))

    with pytest.raises(WeightsError, match=r"(?s)mini-.*other-"):
        ensure_weights(["mini", "other"], TrainConfig())


def test_a_download_is_verified_and_kept(
    server: tuple[type[Answers], str], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloaded once; the next run finds it in the cache."""
    handler, address = server
    handler.payload = content
    register(content, address, monkeypatch)
    first = ensure_weights(["mini"], TrainConfig())["mini"]
    handler.payload = b"no longer there"
    second = ensure_weights(["mini"], TrainConfig())["mini"]

    assert first.path is not None
    assert first.path.read_bytes() == content
    assert (first.initial.source, second.initial.source) == ("download", "torch hub cache")
    assert first.identity == second.identity
    assert [path.name for path in hub_folder().iterdir()] == [first.path.name]


def test_a_download_of_something_else_is_refused(
    server: tuple[type[Answers], str], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's login page, for instance; nothing is kept."""
    handler, address = server
    handler.payload = b"<html>please log in</html>"
    register(content, address, monkeypatch)

    with pytest.raises(WeightsError, match=r"is not Mini_Weights\.V1"):
        ensure_weights(["mini"], TrainConfig())
    assert list(hub_folder().iterdir()) == []


def test_a_download_cut_off_leaves_nothing(
    server: tuple[type[Answers], str], content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Said as what it is."""
    handler, address = server
    handler.payload, handler.claimed = content[:1000], len(content)
    file = register(content, address, monkeypatch).weights["V1"]

    with pytest.raises(OSError, match=r"1000 of|the connection broke"):
        download(file, tmp_path / "hub")
    assert list((tmp_path / "hub").iterdir()) == []
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        ensure_weights(["mini"], TrainConfig())


def test_progress_of_a_long_download_is_logged(
    server: tuple[type[Answers], str],
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Megabytes so far and in all."""
    handler, address = server
    handler.payload = content
    monkeypatch.setattr(weights, "PROGRESS_EVERY_S", -1.0)
    with caplog.at_level("INFO"):
        download(register(content, address, monkeypatch).weights["V1"], tmp_path)

    assert "downloading mini-" in caplog.text


@pytest.mark.parametrize(
    ("model", "train", "words"),
    [
        pytest.param(
            "efficientnet_b0",
            TrainConfig(weights_version="V2"),
            r"no pretrained weights of version V2; it has: V1 \(efficientnet-pytorch efficientnet-b0\).*"
            r"train\.recipes\.efficientnet_b0\.weights_version=V1",
            id="a version that is not published",
        ),
        pytest.param(
            "convnext_tiny",
            TrainConfig(recipes={"convnext_tiny": RecipeOverride(weights_version="V2")}),
            "'convnext_tiny' has no pretrained weights of version V2",
            id="asked for by the recipe",
        ),
        pytest.param("test_cnn", TrainConfig(), "'test_cnn' has no pretrained weights", id="none at all"),
    ],
)
def test_a_version_that_is_not_published_is_a_configuration_error(
    model: str, train: TrainConfig, words: str
) -> None:
    """What there is, is listed; nothing is downloaded first."""
    with pytest.raises(ConfigError, match=words):
        ensure_weights(["resnet50", model], train)


@pytest.mark.usefixtures("mini")
def test_a_weights_dir_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    """Not quietly passed over."""
    with pytest.raises(ConfigError, match="there is no folder"):
        ensure_weights(["mini"], TrainConfig(weights_dir=tmp_path / "nowhere"))


def test_random_initialisation_is_said_as_such() -> None:
    """Only when asked for, for every model."""
    resolved = ensure_weights(["resnet50", "test_cnn"], TrainConfig(initial_weights="none"))

    assert {one.initial.name for one in resolved.values()} == {"random initialisation"}
    assert all(one.path is None for one in resolved.values())
