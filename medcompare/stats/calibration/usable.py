"""Scores as probabilities: as they are, or recalibrated on the validation subset where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medcompare.stats.calibration.recalibration import fit_isotonic, fit_platt, fit_temperature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medcompare.config.schema import EvaluateConfig
    from medcompare.predictions.cases import ScoredCases
    from medcompare.stats.calibration.recalibration import IsotonicRecalibration, PlattRecalibration


def usable_probabilities(
    test: ScoredCases, validation: ScoredCases | None, model: str, evaluate: EvaluateConfig
) -> tuple[NDArray[np.float64], str | None]:
    """Probabilities that calibration and net benefit are computed from, and how they were made.

    Parameters
    ----------
    test, validation : ScoredCases
        The test subset, and the one a recalibration is fitted on.
    model : str
        Which of the scores.
    evaluate : EvaluateConfig
        ``recalibration`` counts.

    Returns
    -------
    probability : ndarray of shape (n_cases,)
        As predicted, or recalibrated.
    how : {"temperature", "platt", "isotonic"} or None
        None where nothing was recalibrated: not asked for, or no usable validation subset.
    """
    fitted = recalibration(validation, model, evaluate)
    if fitted is None:
        return test.scores[model], None
    return fitted.apply(test.scores[model]), evaluate.recalibration


def recalibration(
    validation: ScoredCases | None, model: str, evaluate: EvaluateConfig
) -> PlattRecalibration | IsotonicRecalibration | None:
    """What recalibrates the scores of a model.

    Parameters
    ----------
    validation : ScoredCases or None
        The subset it is fitted on.
    model : str
        Which of the scores.
    evaluate : EvaluateConfig
        ``recalibration`` counts.

    Returns
    -------
    PlattRecalibration, IsotonicRecalibration or None
        None where nothing was asked for, or there is no usable validation subset.
    """
    if evaluate.recalibration == "none" or validation is None or len(set(validation.y_true.tolist())) == 1:
        return None
    known = validation.y_true, validation.scores[model]
    if evaluate.recalibration == "isotonic":
        return fit_isotonic(*known)
    return (fit_platt if evaluate.recalibration == "platt" else fit_temperature)(*known)
