"""What the orchestrator's form sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def sent_by_form(model: type[BaseModel], *, unfolded: bool) -> dict[str, Any]:
    """What it sends of its own accord: every default that it shows, with or without the folded parts."""
    schema = model.model_json_schema()

    def shown(properties: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for name, field in properties.items():
            if "default" in field:
                values[name] = field["default"]
            elif "anyOf" in field:  # a section
                folded, whole = field["anyOf"]
                part = schema["$defs"][whole["$ref"].rpartition("/")[2]] if unfolded else folded
                values[name] = shown(part["properties"]) if "properties" in part else None
        return values

    return shown(schema["properties"])
