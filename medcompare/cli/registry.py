"""``medcompare registry``: champion and challenger, on MLflow's model registry."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medcompare.base.errors import ConfigError
from medcompare.cli.options import Fields, all_values, list_fields, put
from medcompare.cli.terminal import ExitStatus
from medcompare.config.errors import validated
from medcompare.config.registry import NightConfig

if TYPE_CHECKING:
    from medcompare.handover.registry import ModelRegistry

Action = Literal["show", "add", "promote", "rollback", "night"]


def registry(
    action: Annotated[
        Action,
        typer.Argument(
            help="show: who is champion. add EXPORT: register one. promote VERSION, rollback: by a person, with a "
            "reason. night: compare on the reference set and on new images, and watch for drift."
        ),
    ] = "show",
    what: Annotated[
        str | None,
        typer.Argument(metavar="EXPORT|VERSION", help="Folder of the export, or number of the version."),
    ] = None,
    *,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who decides.")] = None,
    because: Annotated[str | None, typer.Option(metavar="REASON", help="Why; it is kept.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="PDF", help="add: report of the comparison, to be kept beside the export."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="night: labelled images that stay the same, in no training."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PLACE", help="night: new images, in no training.")
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="night: the new images have no labels; watch for drift only.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name in the registry (default: medcompare).")
    ] = None,
    uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="An MLflow server, such as http://127.0.0.1:5000, or a database (default: SQLite in the store).",
        ),
    ] = None,
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the cache.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the page of nights.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set any field, e.g. --set registry.promote=auto or --set decide.margin_auc=0.02 (repeatable).",
        ),
    ] = None,
    fields: Fields = False,
) -> int:
    """Keep a champion, let challengers meet it, watch for drift.

    Nobody is promoted by chance: all nights of a champion together have the error rate of one comparison.
    """
    if fields:
        print("\n".join(list_fields(NightConfig)))
        return ExitStatus.SUCCESS
    named: dict[str, Any] = {}
    for field, value in (
        ("registry.model", model),
        ("registry.uri", uri),
        ("reference.source", reference),
        ("data.source", data),
        ("store", store and str(store)),
        ("out", out and str(out)),
        ("labelled", False if unlabelled else None),
    ):
        if value is not None:
            put(named, field, value)
    config = validated(NightConfig, all_values(None, assignments or (), named, NightConfig))
    _check(action, what, config, decided=bool(by and because))
    from medcompare.handover.registry import ModelRegistry

    kept = ModelRegistry(config.registry, config.store)
    return _ACTIONS[action](kept, config, what or "", by or "", because or "", report)


def _check(action: Action, what: str | None, config: NightConfig, *, decided: bool) -> None:
    """Raise a ConfigError with the call that would work, where something is missing."""
    command = f"medcompare registry {action}"
    if action in {"add", "promote"} and what is None:
        msg = f"which one? {command} {'EXPORT' if action == 'add' else 'VERSION'} --by NAME --because REASON"
        raise ConfigError(msg)
    if action in {"add", "promote", "rollback"} and not decided:
        msg = f"who decides, and why? {command} {what or ''} --by 'Dr. Name' --because 'REASON'".replace(
            "  ", " "
        )
        raise ConfigError(msg)
    if action == "night" and not (
        config.reference.model_fields_set & {"source"} and config.data.model_fields_set & {"source"}
    ):
        msg = "name both places: medcompare registry night --reference reference_images --data new_images"
        raise ConfigError(msg)


def _show(kept: "ModelRegistry", _config: NightConfig, *_: object) -> int:
    from medcompare.handover.registry import ROLES

    shown = False
    for role in ROLES:
        version = kept.role(role)
        if version is not None:
            shown = True
            print(
                f"{role:<11} {version.name}\n            score with  medcompare predict {version.folder} --data NEW"
            )
    if not shown:
        print(f"{kept.model} has no champion yet: medcompare registry add EXPORT --by NAME --because REASON")
    print(f"registry    {kept.page or kept.uri}")
    return ExitStatus.SUCCESS


def _add(
    kept: "ModelRegistry", _config: NightConfig, what: str, by: str, because: str, report: Path | None
) -> int:
    version, role = kept.add(Path(what), by=by, because=because, report=report)
    print(f"{version.name} is the {role} of {kept.model}")
    return ExitStatus.SUCCESS


def _promote(
    kept: "ModelRegistry", _config: NightConfig, what: str, by: str, because: str, *_: object
) -> int:
    version = kept.crown(what, action="promote", by=by, because=because)
    print(f"{version.name} is the champion of {kept.model}")
    return ExitStatus.SUCCESS


def _rollback(
    kept: "ModelRegistry", _config: NightConfig, _what: str, by: str, because: str, *_: object
) -> int:
    before = kept.role("previous")
    if before is None:
        msg = f"{kept.model} has no champion before this one; any other: medcompare registry promote VERSION"
        raise ConfigError(msg)
    kept.crown(before.number, action="roll back", by=by, because=because)
    print(f"{before.name} is the champion of {kept.model} again")
    return ExitStatus.SUCCESS


def _night(kept: "ModelRegistry", config: NightConfig, *_: object) -> int:
    import os

    from medcompare.base.language import in_language
    from medcompare.handover.night import night
    from medcompare.handover.night_end import finished, logged
    from medcompare.handover.nights_page import told
    from medcompare.notify.nightly import mail_about
    from medcompare.notify.settings import mail_config_from_environment

    settings = mail_config_from_environment(os.environ)
    with in_language(config.language):
        found = night(config, kept)
        run, changes, page = finished(config, kept, found)
        print("\n".join(told(found)))
        print(f"Page        {page}")
        if settings is not None:
            mail_about(run, settings, config.store, changes=changes)
        logged(kept, found, run, page)
    return ExitStatus.SUCCESS


_ACTIONS: dict[Action, Callable[..., int]] = {
    "show": _show,
    "add": _add,
    "promote": _promote,
    "rollback": _rollback,
    "night": _night,
}
