"""One night: champion, challenger and the champion before on the frozen reference set and on new images.

What a night found is kept as numbers in the folder of the registry, so that new images of many nights are compared
together: digests of images and patients, labels, scores, and of the champion also features. No pixels.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from medcompare.base.artifacts import sha256_of_bytes, write_atomically
from medcompare.base.errors import ConfigError, DataError
from medcompare.base.formatting import capital, join_words
from medcompare.base.language import message, t
from medcompare.base.record import Record
from medcompare.handover.likeness import PIXEL_STATISTICS, is_unlike
from medcompare.handover.night_images import Images, scored_by
from medcompare.handover.registry import ROLES, Role
from medcompare.handover.rules import reached, recalibrated
from medcompare.predictions.cases import ScoredCases
from medcompare.stats import drift, succession
from medcompare.stats.drift import Alarm, Cases, Signal
from medcompare.stats.succession import Meeting, Succession

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medcompare.config.registry import NightConfig
    from medcompare.handover.registry import ModelRegistry, Version

MONTH = timedelta(days=30)
_ELSEWHERE = message(
    "Earlier nights are kept in another store: their new images are neither pooled nor left out."
)
REFERENCE, LAST_MONTH = message("the reference set"), message("the last 30 days")
SUBJECTS = {"data": message("images"), "labels": message("labels"), "model": message("model")}


class Night(Record):
    """What a night found; also what the page of all nights is made of. No names of files, no patients."""

    at: str = Field(description="UTC, ISO 8601.")
    model: str
    champion: str
    challenger: str | None = None
    previous: str | None = None
    n_new: int = Field(description="New images that were scored.")
    n_new_positive: int | None = None
    n_left_out: int = Field(
        description="Images that are in the reference set, or were new on an earlier night."
    )
    n_not_scored: int
    n_pooled: int = Field(description="Labelled new images, all nights together, that the challenger met on.")
    share_unlike_training: float | None = Field(
        default=None, description="New images flagged as unlike the training images, see the export."
    )
    expected_unlike: float = Field(description="The same share of the validation images.")
    model_moved: float = Field(
        description="Largest change of a score of the reference set since the first night."
    )
    meetings: dict[str, Meeting]
    succession: Succession
    done: bool = Field(description="Promoted or rolled back by this night itself (registry.promote=auto).")
    alarm: Alarm
    signals: dict[str, tuple[Signal, ...]] = Field(description="By what the new images were compared with.")
    notes: tuple[str, ...] = ()

    @property
    def decision(self) -> str:
        """What is to be done."""
        if self.succession.action == "hold":
            return t("{Model} remains the champion", Model=capital(self.champion))
        to = self.succession.to or ""
        if self.succession.action == "promote":
            return (
                t("Promote {model}", model=to)
                if self.done
                else t("Promote {model} (a person decides)", model=to)
            )
        if self.done:
            return t("Roll back to {model}", model=to)
        return t("Roll back to {model} (a person decides)", model=to)

    @property
    def headline(self) -> str:
        """For subject lines."""
        if not self.alarm.changed:
            return self.decision
        subjects = join_words(t(SUBJECTS[one]) for one in self.alarm.changed)
        return t("Alarm: {subjects} changed. {decision}", decision=self.decision, subjects=subjects)


def night(config: NightConfig, registry: ModelRegistry, *, at: datetime | None = None) -> Night:
    """Score, compare, decide, and keep what was found.

    Parameters
    ----------
    config : NightConfig
        Reference set, new images, rule.
    registry : ModelRegistry
        Holds the champion.
    at : datetime, optional
        The moment of the night; default: now.

    Raises
    ------
    ConfigError
        If there is no champion, or the reference set is not that of the nights before.
    DataError
        If images cannot be listed, or have other classes than the networks.
    """
    at = at or datetime.now(UTC)
    versions = {role: one for role in ROLES if (one := registry.role(role)) is not None}
    if "champion" not in versions:
        msg = f"{registry.model} has no champion: medcompare registry add EXPORT --by NAME --because REASON"
        raise ConfigError(msg)
    champion = versions["champion"]
    references, _ = scored_by(versions, config.reference, labelled=True, store=config.store)
    moves = {
        role: _compared_with_first_night(registry, versions[role], one) for role, one in references.items()
    }
    news, notes = scored_by(versions, config.data, labelled=config.labelled, store=config.store)
    moved = moves["champion"]
    reference, new = references["champion"], news["champion"]
    past = past_nights(registry, at)
    seen = [one["sha256"] for _, one in past] + [reference.sha256]
    fresh = ~np.isin(new.sha256, np.concatenate(seen))
    tonight = {
        role: _aligned(one.chosen(~np.isin(one.sha256, np.concatenate(seen))), new.chosen(fresh))
        for role, one in news.items()
    }
    kept = _kept(tonight, versions, champion)
    meetings: dict[Any, Meeting] = {}
    looks = registry.looks
    n_pooled = 0
    names = {version.number: version.name for version in versions.values()}
    for role in ("challenger", "previous"):
        if role not in versions:
            continue
        # Without new images there is nothing to look at again, and no share of the error rate is spent.
        pooled = (
            _pooled([*[one for _, one in past], kept], champion, versions[role])
            if fresh.any() and config.labelled
            else None
        )
        n_pooled = pooled.n if pooled is not None and role == "challenger" else n_pooled
        meetings[role] = succession.meet(
            pooled,
            _cases({v.number: references[r] for r, v in versions.items()}, champion.export.classes),
            champion=champion.number,
            candidate=versions[role].number,
            names=names,
            thresholds={v.number: v.export.threshold.threshold for v in versions.values()},
            looks_before=max([looks, *(one.look for one in meetings.values())]),
            rule=config.decide,
            evaluate=config.evaluate,
        )
    decided = succession.decide(meetings, looks_before=looks)
    signals = _signals(tonight["champion"], reference, past, champion, at)
    found = Night(
        at=at.isoformat(timespec="seconds"),
        model=registry.model,
        champion=champion.name,
        challenger=versions["challenger"].name if "challenger" in versions else None,
        previous=versions["previous"].name if "previous" in versions else None,
        n_new=int(fresh.sum()),
        n_new_positive=int(tonight["champion"].y_true.sum()) if config.labelled else None,
        n_left_out=int((~fresh).sum()),
        n_not_scored=new.n_not_scored,
        n_pooled=n_pooled,
        share_unlike_training=float(is_unlike(tonight["champion"].distance).mean()) if fresh.any() else None,
        expected_unlike=1 - champion.export.likeness.quantile,
        model_moved=moved,
        meetings={str(role): one for role, one in meetings.items()},
        succession=decided.model_copy(update={"to": decided.to and names[decided.to]}),
        done=decided.action != "hold" and config.registry.promote == "auto",
        alarm=drift.alarm(signals, model_moved=moved),
        signals=signals,
        notes=notes if past or not looks else (*notes, t(_ELSEWHERE)),
    )
    # What is kept here comes last: if the registry dies before, the same command is this night again, and its
    # comparisons are counted once too often rather than never.
    folder = registry.folder / "nights"
    registry.remember(looks=decided.looks)
    if found.done and decided.to is not None and decided.action != "hold":
        registry.crown(
            decided.to, action=decided.action, by="medcompare (registry.promote=auto)", because=decided.reason
        )
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{at:%Y%m%dT%H%M%S}"
    _write_arrays(folder / f"{stamp}.npz", kept)
    write_atomically(folder / f"{stamp}.json", found.model_dump_json(indent=1).encode())
    return found


def _aligned(images: Images, like: Images) -> Images:
    """`images` in the order of `like`, which every network of a night has scored."""
    if not np.array_equal(images.sha256, like.sha256):
        msg = "two versions do not score the same new images: their limits of size or depth differ"
        raise DataError(msg)
    return images


def _compared_with_first_night(registry: ModelRegistry, version: Version, now: Images) -> float:
    """Largest change of a score of the reference set since the first night of `version`; the set must be the same."""
    fingerprint = sha256_of_bytes(
        np.sort(now.sha256).tobytes() + now.y_true[np.argsort(now.sha256)].tobytes()
    )
    frozen = registry.recall("reference")
    if frozen is None:
        registry.remember(reference=fingerprint)
    elif frozen != fingerprint:
        msg = (
            f"the reference set is not the frozen one of {registry.model}: {len(now.sha256)} images with the "
            f"fingerprint {fingerprint[:12]}, it was {frozen[:12]}. Put back the images and labels of before; or begin "
            "anew under another name, --set registry.model=NAME"
        )
        raise ConfigError(msg)
    first = registry.folder / f"v{version.number}" / "reference.npz"
    order = np.argsort(now.sha256)
    if not first.is_file():
        _write_arrays(first, {"score": now.score[order]})
        return 0.0
    return float(np.abs(np.load(first)["score"] - now.score[order]).max())


Kept = dict[str, "NDArray[Any]"]


def _write_arrays(path: Path, arrays: Kept) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type] # arrays only
    write_atomically(path, buffer.getvalue())


def _kept(tonight: Mapping[Role, Images], versions: Mapping[Role, Version], champion: Version) -> Kept:
    one = tonight["champion"]
    probability = recalibrated(one.score, champion.export.recalibration)
    return {
        "sha256": one.sha256,
        "patient": one.patient,
        "y_true": one.y_true,
        "statistics": one.statistics,
        "features": one.features,
        "probability": probability,
        "champion": np.array(champion.number),
        **{f"score-{versions[role].number}": images.score for role, images in tonight.items()},
    }


def past_nights(registry: ModelRegistry, at: datetime) -> list[tuple[datetime, Kept]]:
    """Nights before `at`, oldest first."""
    found = []
    for file in sorted((registry.folder / "nights").glob("*.npz")):
        moment = datetime.strptime(file.stem, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        if moment < at.replace(microsecond=0):
            with np.load(file) as arrays:
                found.append((moment, {name: arrays[name] for name in arrays.files}))
    return found


def _pooled(nights: Sequence[Kept], champion: Version, candidate: Version) -> ScoredCases | None:
    """Labelled new images of all nights on which both were scored."""
    both = [f"score-{one.number}" for one in (champion, candidate)]
    rows = [one for one in nights if all(name in one for name in both) and (one["y_true"] >= 0).any()]
    if not rows:
        return None
    y, patient, digest = (
        np.concatenate([one[name] for one in rows]) for name in ("y_true", "patient", "sha256")
    )
    return ScoredCases(
        case_id=tuple(f"{one:016x}" for one in digest.tolist()),
        y_true=y,
        scores={
            one.number: np.concatenate([row[name] for row in rows])
            for one, name in zip((champion, candidate), both, strict=True)
        },
        patient_id=patient.astype(str),
        classes=champion.export.classes,
        subset="test",
    )


def _cases(images: Mapping[str, Images], classes: tuple[str, str]) -> ScoredCases:
    first = next(iter(images.values()))
    return ScoredCases(
        case_id=tuple(f"{one:016x}" for one in first.sha256.tolist()),
        y_true=first.y_true,
        scores={name: _aligned(one, first).score for name, one in images.items()},
        patient_id=first.patient.astype(str),
        classes=classes,
        subset="test",
    )


def _signals(
    new: Images, reference: Images, past: Sequence[tuple[datetime, Kept]], champion: Version, at: datetime
) -> dict[str, tuple[Signal, ...]]:
    """The new images beside the reference set, and beside those of the last 30 days under this champion."""

    def cases(one: Mapping[str, NDArray[Any]]) -> Cases:
        y = one["y_true"]
        return Cases(
            patient=one["patient"],
            images=dict(zip(PIXEL_STATISTICS, one["statistics"].T, strict=True)),
            features=one["features"].astype(np.float64),
            called=reached(one["score"], champion.export.threshold.threshold),
            probability=one["probability"],
            y_true=y if len(y) and (y >= 0).all() else None,
        )

    def of(images: Images) -> Mapping[str, NDArray[Any]]:
        return {**vars(images), "probability": recalibrated(images.score, champion.export.recalibration)}

    month = [
        {**one, "score": one[f"score-{champion.number}"]}
        for moment, one in past
        if at - moment <= MONTH and str(one["champion"]) == champion.number and len(one["sha256"])
    ]
    bases = {REFERENCE: of(reference)}
    if month:
        names = ("patient", "y_true", "statistics", "features", "probability", "score")
        bases[LAST_MONTH] = {name: np.concatenate([one[name] for one in month]) for name in names}
    if not len(new.sha256):
        return {}
    found = {
        name: drift.compare(cases(of(new)), cases(base), seed=i, n_tests=len(bases))
        for i, (name, base) in enumerate(bases.items())
    }
    return {name: signals for name, signals in found.items() if signals}
