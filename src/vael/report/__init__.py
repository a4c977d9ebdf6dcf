"""A run as one page: self-contained HTML, without scripts or links to anything outside."""

from vael.report.demonstrations import DEMONSTRATIONS
from vael.report.demonstrations import drawn as demonstration
from vael.report.page import page, sections
from vael.report.subject import Subject

__all__ = ["DEMONSTRATIONS", "Subject", "demonstration", "page", "sections"]
