"""How fast vael is beside what people use and beside the floor: `make bench`.

    python benchmarks/speed [--only mlp conv] [--rounds 3] [--threads 1 2] [--write docs/performance.md]

Each row runs in a process of its own, rows take turns. Prints Markdown tables; --write puts them into a page between
the marks of each piece, and a picture beside it. `--only mlp/vael mlp/products` runs single rows. A row that cannot
run says why. Needs mnist.npz in $VAEL_DATA, or uses random bytes of the same shape.
"""

import argparse
import json
import sys
from fnmatch import fnmatch
from pathlib import Path

from conv import CONV
from evaluating import ENCODE, EVIDENCE, SAMPLE
from harness import Piece, Row, machine, measure, missing, sample
from mlp import MLP
from page import picture, put, section
from startup import STARTUP
from tabular import TABLE

PIECES = {piece.name: piece for piece in (MLP, CONV, EVIDENCE, ENCODE, SAMPLE, TABLE, STARTUP)}


def rows_of(piece: Piece, only: list[str]) -> list[Row]:
    """The piece's rows that are asked for: all, or those whose `piece` or `piece/row` fits one of the patterns."""
    names = [(piece.name, f"{piece.name}/{row.name}") for row in piece.rows]
    wanted = [not only or any(fnmatch(name, pattern) for name in both for pattern in only) for both in names]
    return [row for row, want in zip(piece.rows, wanted, strict=True) if want]


def show(piece: Piece, asked: argparse.Namespace) -> None:
    """Measure one piece, print its section, and write it where asked."""
    rows = rows_of(piece, asked.only)
    if not rows:
        return
    said, count = machine(), asked.count or piece.count
    found = {
        threads: measure(
            piece, rows, rounds=asked.rounds, threads=threads, count=count, child=str(Path(__file__).parent)
        )
        for threads in asked.threads
    }
    text = section(piece, found, rounds=asked.rounds, count=count, said=said)
    print(f"\n## {piece.title}\n\n{text}", flush=True)
    if asked.write:
        image = asked.write.parent / "images" / f"speed-{piece.name}.png"
        if missing(["matplotlib"]):
            print("no picture: matplotlib is not installed", file=sys.stderr)
        else:
            picture(piece, found, image)
            text += f"\n\n![{piece.title}](images/{image.name})"
        put(asked.write, piece.name, text)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--only", nargs="+", default=[], metavar="PIECE[/ROW]", help=f"of {', '.join(PIECES)}")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    ask.add_argument("--count", type=int, help="how much work a sample does, in place of each piece's own")
    ask.add_argument("--write", type=Path, help="a page to put tables and pictures into")
    ask.add_argument("--child", nargs=2, metavar=("PIECE", "ROW"), help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.child:
        name, row = asked.child
        print(json.dumps(sample(PIECES[name].row(row), asked.count or PIECES[name].count)))
        return
    for piece in PIECES.values():
        show(piece, asked)


if __name__ == "__main__":
    main()
