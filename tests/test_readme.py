"""README.md and docs/: every snippet runs, and every command shown exists.

A fence's language says what becomes of it:

    ```python    runs; all of a page share one namespace
    ```console   every line `$ vael …` runs, in order, and must exit with 0; the other lines are what it printed
    ```toml      must parse
    ```sh        shown, not run: installing, and commands on files that the reader has

A page runs from top to bottom in an empty folder, Python and commands in turn. Commands in `sh` fences and in `inline
code` do not run, but the command line must know their verbs and options.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vael.cli.app import VERBS, app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

PRELUDE = (
    "import subprocess as _s, pathlib as _p, sys as _y; "
    "_vael = lambda *words: _s.run([_p.Path(_y.executable).with_name('vael'), *words], check=True)"
)


def fences(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """(number of the line before its content, language, content lines) of every fence."""
    inside: tuple[int, str] | None = None
    content: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside, content = (number, line[3:].strip()), []
            else:
                yield (*inside, content)
                inside = None
        elif inside is not None:
            content.append(line)
    assert inside is None, f"the fence opened in line {inside[0]} is never closed"


def script(text: str) -> str:
    """The page as a Python program of as many lines, so that a traceback speaks of the page's own lines."""
    lines = [""] * (len(text.splitlines()) + 1)
    lines[0] = PRELUDE  # a page's first line is its title
    for start, language, content in fences(text):
        for offset, line in enumerate(content):
            if language == "python":
                lines[start + offset] = line
            elif language == "console" and line.startswith("$ "):
                verb, *words = shlex.split(line[2:], comments=True)
                assert verb == "vael", f"line {start + offset + 1}: {line!r}; a console fence runs vael alone, use sh"
                lines[start + offset] = f"_vael(*{words!r})"
    return "\n".join(lines) + "\n"


def commands(text: str) -> Iterator[list[str]]:
    """The words after `vael` of every command shown, in fences and in inline code."""
    shown = []
    for _, language, content in fences(text):
        if language not in ("python", "toml"):
            shown += "\n".join(content).replace("\\\n", " ").splitlines()
    shown += re.findall(r"(?<!`)`(vael [^`\n]+)`(?!`)", text)
    for line in shown:
        if match := re.match(r"(?:\$ )?(?:\S*/)?vael (.*)", line):
            yield shlex.split(match[1], comments=True)


def test_there_are_pages():
    assert "README.md" in NAMES
    assert "docs/index.md" in NAMES


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_shown_is_known_to_the_command_line(page):
    for verb, *words in commands(page.read_text(encoding="utf-8")):
        assert verb in VERBS
        if words:  # a verb alone is spoken of
            app.parse_args([verb, *words], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_recipe_and_program_shown_parses(page):
    text = page.read_text(encoding="utf-8")
    compile(script(text), str(page), "exec")
    for _, language, content in fences(text):
        if language == "toml":
            tomllib.loads("\n".join(content))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_to_a_file_of_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_snippet_runs(page, tmp_path):
    program = tmp_path / f"page_{page.stem}.py"  # numbers.py would stand in for the standard library's
    program.write_text(script(page.read_text(encoding="utf-8")), encoding="utf-8")
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path / "here", capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
