# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect every fault of an input before saying no, and say each in one line: where, what, and the fix."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.ntier.django.plugins.module_utils.requirements import masked


class InventoryError(ValueError):
    """The input can't work. ``faults`` lists one sentence for each thing that is wrong."""

    def __init__(self, faults: t.Sequence[str], heading: str = "The inventory can't work as it is") -> None:
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "\n".join(f"  {number}. {fault}" for number, fault in enumerate(self.faults, 1))
        super().__init__(f"{heading} ({count}; no host has been changed):\n{lines}")


class Faults:
    """A growing list of sentences. Falsy while nothing is wrong."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, where: str, what: str, fix: str) -> None:
        """Note one fault: *where* it is (file, host or variable), *what* is wrong with which value, the *fix*."""
        sentence = f"{where}: {what}. {fix}" + ("" if fix.endswith("?") else ".")
        if sentence not in self.sentences:
            self.sentences.append(sentence)

    def __bool__(self) -> bool:
        return bool(self.sentences)

    def __len__(self) -> int:
        return len(self.sentences)

    def raise_if_any(self) -> None:
        """Raise L(InventoryError) with all sentences when there is one."""
        if self.sentences:
            raise InventoryError(self.sentences)


def did_you_mean(word: str, choices: t.Iterable[str]) -> str | None:
    """Return the one of *choices* that *word* most likely was meant to be, or None."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.7)
    return close[0] if close else None


def listed(words: t.Iterable[t.Any]) -> str:
    """Return words as a person lists them: ``a, b and c``."""
    items = [str(word) for word in words]
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def shown(value: t.Any) -> str:
    """Return a value as it stands in a message, without passwords of addresses, and cut at 60 characters."""
    text = masked(repr(str(value)) if isinstance(value, str) else repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def type_name(value: t.Any) -> str:
    """Return the YAML name of a value's type."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in (
        (int, "a whole number"),
        (float, "a number"),
        (str, "a text"),
        (dict, "a dictionary"),
        (list, "a list"),
    ):
        if isinstance(value, kind):
            return name
    if isinstance(value, t.Mapping):
        return "a dictionary"
    if isinstance(value, t.Sequence):
        return "a list"
    return type(value).__name__
