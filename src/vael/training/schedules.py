"""Numbers that change with the step, as pure functions of it."""

import math
from typing import Literal

Schedule = Literal["cosine", "constant"]


def learning_rate_at(step: int, *, schedule: Schedule, base: float, steps: int) -> float:
    """The learning rate of update `step` (0 … steps − 1).

    "cosine" falls from `base` to a hundredth of it along half a cosine; "constant" stays.
    """
    if schedule == "constant":
        return base
    turn = math.cos(math.pi * min(step / max(steps, 1), 1.0))
    return base * (0.01 + 0.99 * 0.5 * (1 + turn))


def warm_up_share(step: int, warm_up: int, *, cycle: int = 0) -> float:
    """How far a warm-up of `warm_up` steps has come at `step`: from 1/warm_up to 1.

    cycle: Steps after which it begins anew; 0 for never. Source: Fu et al. 2019, eq. 6 (arXiv 1903.10145).
    """
    since = step % cycle if cycle else step
    return 1.0 if warm_up <= 0 else min(1.0, (since + 1) / warm_up)
