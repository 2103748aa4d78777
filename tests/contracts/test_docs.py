"""The pages say what is true: links lead somewhere; commands, fields, modules and messages exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from medcompare.config.schema import AssessConfig, CompareConfig

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = {path: path.read_text("utf-8") for path in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md")}
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)|^```\{(?:figure|image)\} (\S+)$", flags=re.MULTILINE)
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def plain(text: str) -> str:
    """Markdown without blocks of code."""
    return re.sub(r"^```[^{].*?^```$|^```$.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Anchors that GitHub and MyST make of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", plain(TEXTS.get(path, "")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_page_is_in_the_contents() -> None:
    """A page outside the table of contents is not found, a line without a page breaks the build."""
    trees = re.findall(
        r"^```\{toctree\}\n(.*?)^```$", TEXTS[DOCS / "index.md"], flags=re.MULTILINE | re.DOTALL
    )
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]

    assert sorted([*listed, "index"]) == sorted(path.stem for path in PAGES)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file of the project, and a heading that it has."""
    dead = []
    for found in LINK.finditer(plain(TEXTS[path])):
        name, _, heading = (found[1] or found[2]).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (heading and heading not in anchors(target)):
            dead.append(found[0])

    assert dead == []


def test_pictures_are_small_and_shown() -> None:
    """A picture that no page shows, or that is large, makes every clone slower."""
    shown = " ".join(TEXTS.values())

    assert [p.name for p in (DOCS / "images").iterdir() if f"images/{p.name}" not in shown] == []
    assert [p.name for p in (DOCS / "images").iterdir() if p.stat().st_size > 200_000] == []


def test_commands_exist() -> None:
    """Every `make` target and every module of ours that a page or the workflow starts is there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    started = [*TEXTS.values(), WORKFLOW.read_text("utf-8")]
    makes = {
        name
        for text in started
        for name in re.findall(r"(?:^|[`:] ?|\w=\S+ )make ([a-z][a-z-]+)", text, re.MULTILINE)
    }
    modules = {
        name
        for text in started
        for name in re.findall(r"python -m ((?:flows|benchmarks|medcompare)[\w.]*)", text)
    }

    assert makes - targets == set()
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()


def test_files_exist() -> None:
    """Every file or folder of the project that a page names in code type is there."""
    named = {
        (path.name, name)
        for path, text in TEXTS.items()
        for name in re.findall(
            r"`((?:medcompare|tasks|flows|tests|templates|docs|deploy|benchmarks)/[\w./-]*)`", text
        )
        if not name.startswith("docs/_build")
    }

    assert len(named) > 20
    assert {row for row in named if not (ROOT / row[1]).exists()} == set()


def test_fields_exist() -> None:
    """Every setting that a page names is a field of a configuration."""
    sections = set(CompareConfig.model_fields) | set(AssessConfig.model_fields)
    unknown = set()
    for path, text in TEXTS.items():
        named = re.findall(r"--set ([a-z_.0-9]+)=", text) + re.findall(r"`([a-z]+\.[a-z_]+[a-z_.]*)`", text)
        for name in named:
            first, *rest = name.split(".")
            if first not in sections or name.endswith(
                (".py", ".toml", ".yaml", ".json", ".md", ".pdf", ".html", ".csv")
            ):
                continue
            if first in {"data", "report", "cost"} and path == ROOT / "CONTRIBUTING.md":
                continue
            if not any(has_field(model, [first, *rest]) for model in (CompareConfig, AssessConfig)):
                unknown.add(f"{path.name}: {name}")

    assert unknown == set()


def has_field(model: object, parts: list[str]) -> bool:
    """Whether a dotted name leads through nested models to a field; the keys of a table are free."""
    for part in parts:
        fields = getattr(model, "model_fields", None)
        if fields is None:
            return "dict" in str(model)
        if part not in fields:
            return False
        model = fields[part].annotation
    return True


@cache
def strings() -> tuple[str, ...]:
    """Every text of the product's code, with … where a value is put in."""
    found = []
    for top in ("medcompare", "flows", "tasks"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return tuple(found)


def test_messages_are_those_of_the_code() -> None:
    """A user who searches the page for a message must find it: each is a text of the code."""
    unknown = set()
    for row in re.findall(r"^\| (`.*?`) \| ", TEXTS[DOCS / "troubleshooting.md"], flags=re.MULTILINE):
        for message in re.findall(r"`([^`]+)`", row):
            pieces = [piece.strip(" .") for piece in message.split("…")]
            if not all(any(piece in text for text in strings()) for piece in pieces if len(piece) > 3):
                unknown.add(message)

    assert unknown == set()


def test_modules_of_the_reference_exist() -> None:
    """Every module that the Python page lists can be found."""
    listed = re.findall(r"^   (medcompare\.[\w.]+)$", TEXTS[DOCS / "python-api.md"], flags=re.MULTILINE)

    assert len(listed) > 10
    assert [name for name in listed if importlib.util.find_spec(name) is None] == []


def test_the_workflow_runs_what_is_there_with_least_rights() -> None:
    """Public CI may read the code and nothing else; every action is pinned; each Python we support is tested."""
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]

    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name)] == []
    assert workflow["jobs"]["test"]["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest"],
        "python": ["3.11", "3.12", "3.13", "3.14"],
    }
