"""Findings as a Markdown table and a picture, written into a page between marks that bear the piece's name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from harness import Found, Piece

ByThreads = Mapping[int, Mapping[str, Found]]


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, without an exponent; a dash where there is no figure."""
    if value != value:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "–"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def ratio(found: Found, other: Found | None) -> str:
    """Ratio of the minima, and in brackets that of the medians."""
    if other is None or not other.values:
        return "–"
    return f"{found.least / other.least:.2f} ({found.middle / other.middle:.2f})"


def table(piece: Piece, found: Mapping[str, Found]) -> str:
    """The piece's table in Markdown; rows left out say why."""
    beside = [name for name in piece.beside if name in found]
    first = any(one.first is not None for one in found.values())
    heads = ["row", f"least {piece.unit}", "median", "most", "CPU", *(f"÷ {name}" for name in beside), "peak MiB"]
    heads += ["first step, s"] if first else []
    heads += [piece.losses] if piece.losses else []
    lines = [heads, ["---"] * len(heads)]
    for name, one in found.items():
        if one.left_out:
            lines.append([name, f"left out: {one.left_out}", *[""] * (len(heads) - 2)])
            continue
        cells = [name, number(one.least), number(one.middle), number(one.most), number(one.cpu)]
        cells += [ratio(one, found[other]) for other in beside]
        cells += [number(one.peak, 4)]
        cells += [number(float("nan") if one.first is None else one.first)] if first else []
        cells += [spread(one.losses)] if piece.losses else []
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def section(piece: Piece, found: ByThreads, *, rounds: int, count: int, said: str) -> str:
    """Work, machine, one table for each number of threads, and what each row is."""
    names = {name for rows in found.values() for name in rows}
    parts = [
        piece.work,
        f"{said}. {rounds} round(s) of {count}. Ratios are of minima, in brackets of medians.",
    ]
    for threads, rows in found.items():
        parts += [f"{threads} thread{'s' if threads > 1 else ''}:", table(piece, rows)]
    parts.append("\n".join(f"- `{row.name}`: {row.says}" for row in piece.rows if row.name in names))
    return "\n\n".join(parts)


def put(page: Path, name: str, text: str) -> None:
    """Write `text` between the marks `<!-- name -->` and `<!-- /name -->` of `page`, adding both where they lack."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    if opening in old and closing in old:
        before, rest = old.split(opening, 1)
        new = f"{before}{opening}\n{text}\n{closing}{rest.split(closing, 1)[1]}"
    else:
        new = f"{old.rstrip()}\n\n{opening}\n{text}\n{closing}\n".lstrip()
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(new, encoding="utf-8")


def picture(piece: Piece, found: ByThreads, path: Path) -> None:
    """Bars from zero to the minimum of each row, with a line on to the maximum: a panel for each number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [
        row.name for row in piece.rows if any(row.name in rows and rows[row.name].values for rows in found.values())
    ]
    if not names:
        return
    figure, panels = pyplot.subplots(
        1, len(found), figsize=(1.2 + 3.4 * len(found), 0.9 + 0.28 * len(names)), sharey=True, squeeze=False
    )
    for panel, (threads, rows) in zip(panels[0], found.items(), strict=True):
        for place, name in enumerate(names):
            one = rows.get(name, Found())
            if one.values:
                colour = "#1f6f8b" if "vael" in name or "help" in name else "#b9c4c9"
                panel.barh(place, one.least, color=colour)
                panel.plot([one.least, one.most], [place, place], color="#333333", linewidth=1)
        panel.set_yticks(range(len(names)), names)
        panel.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize=9)
        panel.set_xlabel(piece.unit)
        panel.set_xlim(left=0)
    panels[0][0].invert_yaxis()
    figure.suptitle(piece.title, fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
