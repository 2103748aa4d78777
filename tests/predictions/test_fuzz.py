"""Any bytes as a table: read, or refused in one of our errors, which names no patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medcompare.base.errors import MedcompareError
from medcompare.config.data import DataConfig
from medcompare.data.sources.table import listed
from medcompare.predictions.cost_file import read_costs
from medcompare.predictions.table import read_prediction_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "Jane-Doe"
TABLE = "case_id;y_true;patient_id;a;b@1\n" + "".join(
    f'"case {i}";{i % 2};{NAME}{i // 2};0,{i}5;0,{i}1\n' for i in range(9)
)
MANIFEST = "path,label,patient_id,site\n" + "".join(
    f"{i}.png,{'yes' if i % 2 else 'no'},{NAME}{i},x\n" for i in range(9)
)
COSTS = (
    '[a]\nlatency_ms_median = 41.2\nn_parameters = 23_512_130\n\n["b"]\nlatency_ms_median_ci = [1.0, 2e0]\n'
)
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "predictions": (TABLE, read_prediction_table),
    "manifest": (MANIFEST, lambda path: listed(path, DataConfig())),
    "costs": (COSTS, lambda path: read_costs(path, ("a", "b"))),
}
PIECES = [
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b'"',
        b"\r",
        b"\n",
        b"#",
        b"sep=,\n",
        b"PK\x03\x04",
        b"PAR1",
        b"nan",
        b"1e999",
    ),
    *(
        b"\xe2\x80\xa8",
        b",,",
        b"%",
        b"=1+1",
        b"[[a]]",
        b"9" * 5000,
        b"[" * 2000,
        b"'''",
        b"-0",
        b"\x85",
        b"1_0",
    ),
]


def mutated(text: str, rng: np.random.Generator) -> bytes:
    """`text` with bytes changed, cut, doubled or put in; one in ten is nothing but noise."""
    if rng.random() < 0.1:
        return rng.bytes(int(rng.integers(0, 300)))
    data = text.encode(str(rng.choice(["utf-8", "utf-8", "utf-16", "cp1252", "utf-8-sig"])))
    for _ in range(int(rng.integers(1, 5))):
        at, n = (int(each) for each in rng.integers(0, [len(data) + 1, 40]))
        new = [b"", data[at : at + n] * 2, rng.bytes(n % 4), PIECES[int(rng.integers(len(PIECES)))]]
        data = data[:at] + new[int(rng.integers(4))] + data[at + n * int(rng.random() < 0.5) :]
    return data


def only_our_errors(name: str, seeds: range, folder: Path) -> None:
    """Nothing but a result or a `MedcompareError` that names the file."""
    text, read = READERS[name]
    outcomes = {"read": 0, "refused": 0}
    for i in range(9):
        (folder / f"{i}.png").touch()
    file = folder / "table.csv" if name != "costs" else folder / "costs.toml"
    for seed in seeds:
        file.write_bytes(mutated(text, np.random.default_rng(seed)))
        said = None
        try:
            read(file)
        except MedcompareError as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001 - whatever else
            pytest.fail(f"{name}, seed {seed}: {error!r} for {file.read_bytes()!r}")
        assert said is None or str(file) in said, (seed, said)
        # A line break in the header makes names of columns, and of files, of what stood in the cells.
        allowed = ("columns there are", "files do not exist")
        assert said is None or NAME not in said or any(part in said for part in allowed), (seed, said)
        outcomes["read" if said is None else "refused"] += 1
    assert min(outcomes.values()) > 0.02 * len(seeds), outcomes


@pytest.mark.parametrize("name", READERS)
def test_mutated_tables(name: str, tmp_path: Path) -> None:
    """Two hundred of each kind."""
    only_our_errors(name, range(200), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_thousands_of_mutated_tables(name: str, tmp_path: Path) -> None:
    """Ten thousand of each kind."""
    only_our_errors(name, range(200, 10_200), tmp_path)
