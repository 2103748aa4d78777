"""Locks on cached results, as Prefect's transactions take and release them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.locking.protocol import LockManager

from medcompare.base.errors import DataError
from tasks.cache import STORED, StoreLocks, map_cached

if TYPE_CHECKING:
    from pathlib import Path


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """A second holder waits, in this process and in another; the first may ask twice; release is the holder's."""
    one, two = StoreLocks(tmp_path), StoreLocks(tmp_path)
    assert isinstance(one, LockManager)
    assert one.acquire_lock("key", "a")
    assert one.acquire_lock("key", "a")
    for other in (one, two):
        assert not other.acquire_lock("key", "b", acquire_timeout=0)
        assert not other.wait_for_lock("key", 0)
    one.release_lock("key", "b")
    assert (one.is_locked("key"), one.is_lock_holder("key", "a"), two.is_locked("key")) == (True, True, False)
    one.release_lock("key", "a")
    assert two.wait_for_lock("key", 0)


def test_a_task_holds_its_lock_and_releases_it_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held while it works; free after a result, after an error, and where the result comes from the cache."""
    events: list[str] = []
    acquire, release = StoreLocks.acquire_lock, StoreLocks.release_lock

    def acquiring(self: StoreLocks, key: str, holder: str, *rest: float) -> bool:
        events.append("acquired")
        return acquire(self, key, holder, *rest)

    def releasing(self: StoreLocks, key: str, holder: str) -> None:
        events.append("released")
        release(self, key, holder)
        assert not self.is_locked(key)

    monkeypatch.setattr(StoreLocks, "acquire_lock", acquiring)
    monkeypatch.setattr(StoreLocks, "release_lock", releasing)

    @task(cache_policy=INPUTS, **STORED)
    def half(number: int) -> int:
        events.append("worked")
        if number % 2:
            msg = f"{number} is odd"
            raise DataError(msg)
        return number // 2

    @flow
    def halves(numbers: tuple[int, ...]) -> list[int]:
        return map_cached(half, tmp_path, [{"number": one} for one in numbers], max_workers=1)

    assert halves((4,)) == [2]
    assert halves((4,)) == [2]
    assert events == ["acquired", "worked", "released", "acquired", "released"]
    with pytest.raises(DataError, match="7 is odd"):
        halves((7,))
    assert events[-3:] == ["acquired", "worked", "released"]
    assert halves((4, 8, 12)) == [2, 4, 6]
    assert events.count("acquired") == events.count("released") == 6
