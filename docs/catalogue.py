"""Collect the report's messages, and make the catalogue that is read of the one that people fill in.

``python docs/catalogue.py`` (``make catalogue``) brings ``medcompare/locale/*/LC_MESSAGES/medcompare.po`` up to the
messages of the code, keeps what is translated, names what is not, and compiles the ``.mo`` beside it.
"""

from __future__ import annotations

import ast
import string
import sys
import tomllib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from medcompare.base.language import DOMAIN, LANGUAGES, LOCALES
from medcompare.config.schema import AssessConfig, CompareConfig
from medcompare.config.settings_table import descriptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("medcompare", "flows", "tasks", "templates")
KEYWORDS = {"t": None, "message": None, "tn": (1, 2)}
CHECKLIST_TEXTS = frozenset({"name", "text", "reference", "to_add"})


def _from_python(
    file: IO[bytes],
    keywords: object,  # noqa: ARG001 - Babel's signature
    comment_tags: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
) -> Iterator[tuple[int, str, tuple[str, ...], list[str]]]:
    """Messages of a module; Babel's own reader passes over those within an f-string."""
    for call in ast.walk(ast.parse(file.read())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KEYWORDS:
            texts = [one.value for one in call.args if isinstance(one, ast.Constant)]
            said = tuple(text for text in texts if isinstance(text, str))
            if said:
                yield call.lineno, call.func.id, said, []


def _from_toml(
    file: IO[bytes],
    keywords: object,  # noqa: ARG001 - Babel's signature
    comment_tags: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
) -> Iterator[tuple[int, str, str, list[str]]]:
    """Texts of a checklist, or of the topics, which are texts at the top of their file."""
    content = tomllib.loads(file.read().decode())
    found = _texts(content) if "sections" in content else content.values()
    yield from ((1, "message", text, []) for text in found)


def _texts(value: Any, key: str = "") -> Iterator[str]:  # noqa: ANN401 - what TOML holds
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str) and key in CHECKLIST_TEXTS:
        yield value


def extracted() -> Catalog:
    """All messages of the code, the templates, the checklists and the settings, in English."""
    no_date = datetime.fromtimestamp(0, UTC)  # equal texts, equal files
    found = Catalog(project="medcompare", charset="utf-8", creation_date=no_date, revision_date=no_date)
    methods = [("**.py", _from_python), ("**.j2", "jinja2"), ("**/checklists/*.toml", _from_toml)]
    for folder in FOLDERS:
        for name, line, said, comments, context in extract_from_dir(
            ROOT / folder, methods, {"**.j2": {"silent": "false"}}, KEYWORDS
        ):
            found.add(said, None, [(f"{folder}/{name}", line)], auto_comments=comments, context=context)
    for config in (CompareConfig, AssessConfig):
        for field, text in descriptions(config):
            found.add(text, None, [(field, 0)])
    return found


def gaps(text: str) -> set[str]:
    """Names of the gaps of a message."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def faults(catalog: Catalog) -> list[str]:
    """What is wrong with a catalogue: messages without a translation, or with other gaps than the English."""
    found = []
    for one in catalog:
        if not one.id:
            continue
        said = _forms(one.string)
        if not all(said) or one.fuzzy:
            found.append(f"no translation: {one.id!r}")
        wanted = set().union(*(gaps(text) for text in _forms(one.id)))
        # A singular may say "one" in words.
        if any(not gaps(text) <= wanted or not wanted - {"n"} <= gaps(text) for text in said if text):
            found.append(f"other gaps than {sorted(wanted)}: {one.id!r}")
    return found


def _forms(text: Any) -> list[str]:  # noqa: ANN401 - Babel's messages are untyped
    return [text] if isinstance(text, str) else list(text or [""])


def brought_up(path: Path, template: Catalog) -> Catalog:
    """The catalogue of a file with the messages of `template`, and its own translations of them."""
    catalog = read_po(BytesIO(path.read_bytes()), locale=path.parents[1].name)
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.creation_date = catalog.revision_date = template.creation_date
    return catalog


def po_of(language: str) -> Path:
    """File of a language that people fill in."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def written(catalog: Catalog) -> tuple[bytes, bytes]:
    """Bytes of the ``.po`` and of the ``.mo``, the same for the same texts."""
    po, mo = BytesIO(), BytesIO()
    write_po(
        po, catalog, width=0, sort_output=True, omit_header=False, include_lineno=False, ignore_obsolete=True
    )
    write_mo(mo, catalog)
    return po.getvalue(), mo.getvalue()


def main() -> int:
    """Write the catalogues of all languages; the status is 1 where something is not translated."""
    template, status = extracted(), 0
    for language in LANGUAGES:
        if language == "en":
            continue
        path = po_of(language)
        catalog = brought_up(path, template)
        po, mo = written(catalog)
        path.write_bytes(po)
        path.with_suffix(".mo").write_bytes(mo)
        wrong = faults(catalog)
        print(f"{language}: {len(catalog)} messages, {len(wrong)} of them to be mended", *wrong, sep="\n  ")
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
