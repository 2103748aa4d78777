"""What people write in tables: ids in several spellings, words for a missing value, names of classes.

Nothing here changes a value: it tells what a person may have meant, so that a message or a caveat can say so.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from medcompare.base.language import t

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def without_formula(text: str) -> str:
    """`text` as a cell that no spreadsheet computes: an apostrophe before what would begin a formula.

    A label such as ``=HYPERLINK(...)`` would run when somebody opens the table (OWASP, CSV injection). Numbers stay.
    """
    if _FORMULA.match(text) is None:
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def with_formula(cell: str) -> str:
    """The text that `without_formula` made `cell` of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def words(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def plain(name: str) -> str:
    """`name` in lower case without blanks and signs: ``Patient ID`` is ``patientid``."""
    return "".join(c for c in name.casefold() if c.isalnum())


NO_VALUE = frozenset(
    {
        "nan",
        "nat",
        "null",
        "na",
        "n/a",
        "n.a.",
        "<na>",
        "#n/a",
        "#na",
        "#null!",
        "#value!",
        "#ref!",
        "#name?",
        ".",
    }
)
"""How pandas, R, SQL and spreadsheets write that there is no value, in lower case."""

NO_ID = NO_VALUE | {"none", "<none>", "nil", "unknown", "unnamed", "missing", "-", "--", "?"}
"""The same for ids: a class may be called 'none', a patient not."""

HEALTHY = words(
    "false no non not neg negative negativ benign normal healthy control controls absent without free none "
    "background benigne gutartig gesund sain sano nevus naevus nv bkl df vasc"
)
DISEASED = words(
    "true yes pos positive positiv malignant malign maligne cancer carcinoma tumor tumour disease diseased ill "
    "sick abnormal pathological lesion present case cases metastasis melanoma mel adenocarcinoma scc oscc "
    "pneumonia covid event dead boesartig krebs bcc akiec ak glioma meningioma pituitary lymphoma sarcoma"
)

MAX_CLASSES_SHOWN = 20
MAX_SIDE_CHARACTERS = 30
"""A longer name of a side would not fit the columns of tables."""

SHORTENED = re.compile(r"\d[.,]\d+E\+\d+", flags=re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+|\d+")
NOT_AND_WORD = re.compile(r"(?:non?|not|un)(\w+)")
WHOLE_NUMBER = re.compile(r"(\d+)[.,]0+")
LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def fault_of_value(text: str) -> str | None:
    """What makes `text` no value at all, None where it is one."""
    if not text:
        return " is empty"
    return f": '{text}' stands for no value" if text.casefold() in NO_VALUE else None


def fault_of_id(text: str) -> str | None:
    """What makes `text` no id of a patient or case, None where it may be one."""
    if not text:
        return " is empty"
    if text.casefold() in NO_ID:
        return f": '{text}' stands for no value"
    if SHORTENED.fullmatch(text):
        return " holds a number that a spreadsheet shortened, such as 1.2E+11, so that several ids may have become one"
    return None


def same_id(text: str) -> str:
    """Key that spellings of one id share.

    Parameters
    ----------
    text : str
        An id as it was written.

    Returns
    -------
    str
        Without blanks, quotation marks, capitals, leading zeros and a final ``.0``:
        ``P01``, ``p1`` and ``'P 1'`` agree, and so do ``7``, ``007`` and ``7.0``.
    """
    key = "".join(unicodedata.normalize("NFKC", text).casefold().split()).strip("'\"`’")
    whole = WHOLE_NUMBER.fullmatch(key)
    return LEADING_ZEROS.sub("", whole[1] if whole else key)


def respelled(*groups: Iterable[str]) -> int:
    """How many ids have several spellings in one group, or in another spelling in another.

    Parameters
    ----------
    *groups : iterable of str
        Ids of one table; of several tables, those that occur in exactly the same spelling in
        all of them are not counted.
    """
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for group in groups:
        for text in set(group):
            spellings[same_id(text)].add(text)
    return sum(len(texts) > 1 for texts in spellings.values())


def respelled_in_both(one: Collection[str], other: Collection[str]) -> int:
    """How many ids of `one` are in `other` as well, but never in the same spelling."""
    mine, theirs = ({same_id(text): text for text in set(group)} for group in (one, other))
    exact = {same_id(text) for text in set(one) & set(other)}
    return len((mine.keys() & theirs.keys()) - exact)


def likelihood_of_disease(name: str) -> int:
    """1 where a class sounds like the disease, -1 where it sounds like its absence, else 0."""
    # A number that is the whole name says something, one in "grade 1" does not.
    if (number := same_id(name)) in {"0", "1"}:
        return 1 if number == "1" else -1
    words = [word.casefold() for word in WORD.findall(unicodedata.normalize("NFKC", name))]
    negated = [match[1] for word in words if (match := NOT_AND_WORD.fullmatch(word))]
    if any(word in HEALTHY for word in words) or any(word in DISEASED for word in negated):
        return -1
    return int(any(word in DISEASED for word in words))


def likely_positive(names: Collection[str]) -> tuple[str, ...]:
    """Classes among `names` that are likely the positive ones, sorted; empty where nothing speaks for it.

    Those that sound like disease; else, where some sound like its absence, all others.
    """
    likelihood = {name: likelihood_of_disease(name) for name in sorted(names)}
    diseased = tuple(name for name in likelihood if likelihood[name] > 0)
    if diseased or not any(likelihood.values()):
        return diseased
    return tuple(name for name in likelihood if not likelihood[name])


def option_positive(names: Iterable[str]) -> str:
    """The option that names these classes as positive, as a shell takes it."""
    return f"--positive {shlex.quote(','.join(names))}"


def positive_options(names: Collection[str]) -> str:
    """The options that would name one of `names` as positive, the likelier one first, all of them shown.

    For example ``--positive malignant, or --positive benign``.
    """
    ordered = sorted(names, key=lambda name: -likelihood_of_disease(name))
    return ", or ".join(option_positive([name]) for name in ordered)


def same_class(name: str) -> str:
    """Key that spellings of one class share: without capitals and blanks."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def named_as(text: str, names: Collection[str]) -> str | None:
    """The one of `names` that `text` means: in this spelling, else in another (``1`` for ``1.0``); None without."""
    if text in names:
        return text
    for key in (same_class, same_id):
        alike = [name for name in names if key(name) == key(text)]
        if len(alike) == 1:
            return alike[0]
    return None


def counted(names: Iterable[str], counts: Mapping[str, int]) -> str:
    """``benign (20), malignant (10)``, of many only the first."""
    parts = [f"{name} ({counts[name]})" for name in names]
    shown, n_more = ", ".join(parts[:MAX_CLASSES_SHOWN]), len(parts) - MAX_CLASSES_SHOWN
    return t("{names} and {n} more", names=shown, n=n_more) if n_more > 0 else shown


def side_name(names: Sequence[str], side: str) -> str:
    """What the classes `names` are called together: ``bcc+mel``; many by their number."""
    joined = "+".join(names)
    if len(names) == 1 or len(joined) <= MAX_SIDE_CHARACTERS:
        return joined
    return f"{side} ({len(names)} classes)"
