"""What belongs together because a chain of pairs connects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def connected(n: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number of the component of each of `n` things that the given pairs connect, in order of their first things."""
    graph = scipy.sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], dtype=np.intp)


def groups_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group of every digest that stands in a pair: the smallest digest that a chain of pairs leads to."""
    pairs = list(pairs)
    digests, places = np.unique(np.array(pairs, dtype=str).reshape(-1, 2), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    component = connected(len(digests), first, second)
    _, begins = np.unique(component, return_index=True)
    return dict(zip(digests.tolist(), digests[begins[component]].tolist(), strict=True))
