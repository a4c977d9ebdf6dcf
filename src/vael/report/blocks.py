"""What a page is made of: sections of a few kinds of blocks, plain data that the template lays out and escapes."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    block: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Note:
    """A paragraph that must not be overlooked: a warning, or what is absent and why."""

    block: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    block: ClassVar[str] = "facts"
    rows: list[tuple[str, str]]


@dataclass(frozen=True)
class Quantity:
    """A number with its unit and error; value None where it has none, and `words` say why or stand for it."""

    name: str
    key: str
    value: float | None
    error: float | None
    unit: str
    words: str
    digits: int = 2
    inner: bool = False


@dataclass(frozen=True)
class Quantities:
    """Numbers under each other."""

    block: ClassVar[str] = "quantities"
    rows: list[Quantity]


@dataclass(frozen=True)
class Table:
    """Cells of text. aligned: How many columns from the left are words; the rest are numbers."""

    block: ClassVar[str] = "table"
    head: list[str]
    rows: list[list[str]]
    caption: str
    aligned: int = 1


@dataclass(frozen=True)
class Picture:
    """An image held in the page.

    uri: A data: URI. alt: What it shows, for those who cannot see it. title: A heading over it. note: A remark there.
    sheet: Whether it is a sheet of pictures of the data, whose colours stay as they are on a dark page.
    """

    uri: str
    alt: str
    title: str = ""
    note: str = ""
    sheet: bool = False


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side as the page's width allows, under one caption.

    keys: `(class, words)` of the colours. size: "small", "medium" or "whole", the width each picture gets.
    """

    block: ClassVar[str] = "gallery"
    pictures: list[Picture]
    caption: str
    keys: tuple[tuple[str, str], ...] = ()
    size: str = "small"


@dataclass(frozen=True)
class Commands:
    """What can be typed, and what it gives."""

    block: ClassVar[str] = "commands"
    rows: list[tuple[str, str]]


Block = Text | Note | Facts | Quantities | Table | Gallery | Commands


@dataclass(frozen=True)
class Section:
    """A titled part of the page. anchor: Its address in it."""

    anchor: str
    title: str
    blocks: list[Block]
