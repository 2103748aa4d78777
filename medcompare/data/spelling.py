"""What people write in tables: ids in several spellings, words for a missing value, names of classes.

Nothing here changes a value: it tells what a person may have meant, so that a message or a caveat can say so.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


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
    "0 false no non not neg negative negativ benign normal healthy control controls absent without free none "
    "background benigne gutartig gesund sain sano nevus nv"
)
DISEASED = words(
    "1 true yes pos positive positiv malignant malign maligne cancer carcinoma tumor tumour disease diseased ill "
    "sick abnormal pathological lesion present case cases metastasis melanoma mel adenocarcinoma scc oscc "
    "pneumonia covid event dead boesartig krebs"
)

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
    words = [word.casefold() for word in WORD.findall(unicodedata.normalize("NFKC", name))]
    negated = [match[1] for word in words if (match := NOT_AND_WORD.fullmatch(word))]
    if any(word in HEALTHY for word in words) or any(word in DISEASED for word in negated):
        return -1
    return int(any(word in DISEASED for word in words))


def positive_class_options(names: Iterable[str]) -> str:
    """The options that would name the positive class, the likelier one first, all of them shown.

    Parameters
    ----------
    names : iterable of str
        Classes found.

    Returns
    -------
    str
        For example ``--positive-class malignant, or --positive-class benign``.
    """
    ordered = sorted(names, key=lambda name: -likelihood_of_disease(name))
    return ", or ".join(f"--positive-class {shlex.quote(name)}" for name in ordered)
