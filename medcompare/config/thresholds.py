"""Values of the threshold's rules: given only where the rule uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medcompare.config.schema import EvaluateConfig

RULE_OF_VALUE = {
    "target_sensitivity": "target_sensitivity",
    "fixed_threshold": "fixed",
    "cost_ratio": "cost_ratio",
}
"""Field -> the rule that uses it."""


def check_threshold_rule(evaluate: EvaluateConfig, of_preset: dict[str, Any]) -> None:
    """Raise a ValueError where a value was given that the rule of the threshold does not use.

    Values of the field's default or of the preset are those of a configuration that was stored whole.
    """
    for field, rule in RULE_OF_VALUE.items():
        usual = (type(evaluate).model_fields[field].default, of_preset.get(field))
        if evaluate.threshold_rule != rule and getattr(evaluate, field) not in usual:
            msg = (
                f"evaluate.{field} has no effect with evaluate.threshold_rule '{evaluate.threshold_rule}': "
                f"leave it out, or add --set evaluate.threshold_rule={rule}"
            )
            raise ValueError(msg)
