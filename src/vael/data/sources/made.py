"""Data sets that are computed: factors and laws known exactly."""

import itertools

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame

Floats = NDArray[np.float64]

SIDE = 32
SHAPES = ("square", "ellipse", "heart")
SCALES, TURNS, PLACES = 6, 8, 8
RING_ROWS = 20_000


def sprites(name: str) -> Frame:
    """Every white shape on black of 32 × 32 pixels: 3 shapes × 6 scales × 8 turns × 8 × 8 places, 9216 pictures.

    The factors are labels shape, scale, turn, across and down, the last three as numbers. A quarter turn is no factor
    of a square, which looks the same after it: its turns go through a quarter, an ellipse's through a half, a heart's
    through a whole. The idea is that of dSprites (Matthey et al. 2017); the pictures are drawn here.
    """
    rows = list(itertools.product(range(len(SHAPES)), range(SCALES), range(TURNS), range(PLACES), range(PLACES)))
    shape, scale, turn, across, down = (np.array(column) for column in zip(*rows, strict=True))
    pictures = np.zeros((len(rows), 1, SIDE, SIDE), np.uint8)
    for kind, of_size, way in itertools.product(range(len(SHAPES)), range(SCALES), range(TURNS)):
        chosen = np.flatnonzero((shape == kind) & (scale == of_size) & (turn == way))
        centres = np.stack([place(across[chosen]), place(down[chosen])], 1)
        pictures[chosen, 0] = drawn(kind, 3.0 + 0.6 * of_size, whole_turn(kind) * way / TURNS, centres)
    columns = {
        "x": pictures, "shape": np.asarray(SHAPES, dtype=object)[shape], "scale": scale, "turn": turn,
        "across": across, "down": down,
    }  # fmt: skip
    return Frame(name, columns, origin=name, labels=("shape", "scale", "turn", "across", "down"))


def place(step: NDArray[np.int64]) -> Floats:
    """Pixels from the left, or the top, of a shape's centre."""
    found: Floats = 7.5 + step * (SIDE - 16) / (PLACES - 1)
    return found


def whole_turn(kind: int) -> float:
    """The angle after which a shape looks as before, in radians."""
    return (np.pi / 2, np.pi, 2 * np.pi)[kind]


def drawn(kind: int, size: float, angle: float, centres: Floats) -> NDArray[np.bool_]:
    """Pictures `(n, side, side)` of one shape of half-width `size`, turned by `angle`, at `centres` `(n, 2)`."""
    y, x = np.mgrid[:SIDE, :SIDE]
    right, lower = x - centres[:, 0, None, None], y - centres[:, 1, None, None]
    u = (np.cos(angle) * right + np.sin(angle) * lower) / size
    v = (-np.sin(angle) * right + np.cos(angle) * lower) / size
    inside: NDArray[np.bool_]
    if kind == 0:
        inside = np.maximum(np.abs(u), np.abs(v)) <= 0.85
    elif kind == 1:
        inside = u**2 + (v / 0.55) ** 2 <= 1
    else:
        inside = (u**2 + v**2 - 0.6) ** 3 + u**2 * v**3 <= 0  # point downwards: v grows from top to bottom
    return inside


def ring(name: str) -> Frame:
    """20,000 points z/10 + z/‖z‖ for z ~ N(0, I) in the plane: a ring that a normal law is pushed onto.

    Its density is known: the radius r has 100 (r − 1) exp(−50 (r − 1)²), the angle is uniform. Doersch 2016, figure 2
    (arXiv 1606.05908).
    """
    z = np.random.default_rng(0).normal(size=(RING_ROWS, 2))
    x = z / 10 + z / np.linalg.norm(z, axis=1, keepdims=True)
    return Frame(name, {"across": x[:, 0], "up": x[:, 1]}, origin=name)
