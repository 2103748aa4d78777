"""All statistics of predictions made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

from medcompare.stats import assessment
from tasks.cache import RETRIES, STORED, content_key, redact_tracebacks

if TYPE_CHECKING:
    from medcompare.config.schema import DecideConfig, EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.predictions.costs import CostMeasurement
    from medcompare.stats.records import Assessment


@redact_tracebacks
@task(
    name="assess",
    task_run_name="assess",
    # `digest` covers all that is in the two tables.
    cache_policy=content_key(ignore=("test", "validation"), with_texts=True),
    **RETRIES,
    **STORED,
)
def assess_predictions(
    digest: str,  # noqa: ARG001 - the cache key
    test: ScoredCases,
    validation: ScoredCases | None,
    costs: tuple[CostMeasurement, ...],
    thresholds: dict[str, float],
    evaluate: EvaluateConfig,
    rule: DecideConfig,
    seed: int,
    set_by_user: tuple[str, ...],
) -> Assessment:
    """Every figure, every pair, and the verdict."""
    return assessment.assess(
        test,
        validation,
        costs,
        display_names={},
        thresholds=thresholds,
        evaluate=evaluate,
        rule=rule,
        seed=seed,
        set_by_user=frozenset(set_by_user),
    )
