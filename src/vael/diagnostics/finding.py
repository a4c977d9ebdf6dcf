"""What a diagnosis says."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from unicodedata import combining

WIDTH = 110
INDENT = 13


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do about it.

    name: Its name, for programs. what: In a sentence. why: How it comes about. evidence: Numbers with their units.
    remedy: The change, as an option of the command line or a line of the recipe. cost: What that takes.
    """

    name: str
    what: str
    why: str
    evidence: tuple[str, ...]
    remedy: tuple[str, ...]
    cost: str

    def __str__(self) -> str:
        parts: list[tuple[str, Sequence[str]]] = [
            ("finding", [self.what]),
            ("why", [self.why]),
            ("evidence", self.evidence),
            ("change", self.remedy),
            ("cost", [self.cost]),
        ]
        return "\n".join(block(name, texts) for name, texts in parts)


@dataclass(frozen=True)
class Diagnosis:
    """What was measured, what is wrong, and what only looks as if it were.

    findings: Empty where nothing is wrong. notes: What needs no change. unknown: What could not be looked at, and why.
    measured: Names and texts of the numbers, for people; `numbers` are the same for programs.
    """

    split: str
    examples: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    unknown: tuple[str, ...]
    measured: tuple[tuple[str, str], ...]
    numbers: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        verdict = f"{len(self.findings)} finding{'s' * (len(self.findings) != 1)}" if self.findings else "healthy"
        parts = [block("verdict", [f"{verdict}, by {self.examples} examples of {self.split}"])]
        parts += [f"\n{finding}" for finding in self.findings]
        parts.append("")
        parts += [block(name, [text]) for name, text in self.measured]
        parts += [block("note", [text]) for text in self.notes]
        return "\n".join([*parts, *(block("not seen", [text]) for text in self.unknown)])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "split": self.split,
            "examples": self.examples,
            "unit": "nats per example",
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
            "unknown": list(self.unknown),
            "numbers": self.numbers,
        }


def block(name: str, texts: Sequence[str]) -> str:
    """A name in the margin, and texts beside it, each beginning a line of its own."""
    wrapper = textwrap.TextWrapper(WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
    lines = [line for text in texts for line in wrapper.wrap(text)]
    heads = [name, *[""] * (len(lines) - 1)]
    return "\n".join(head + " " * (INDENT - width(head)) + line for head, line in zip(heads, lines, strict=True))


def width(text: str) -> int:
    """Columns that `text` takes: a macron over a letter takes none."""
    return sum(not combining(letter) for letter in text)
