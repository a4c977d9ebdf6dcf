"""Numbers that change with the step, as pure functions of it."""

import math
from typing import Literal

Schedule = Literal["cosine", "constant", "stages"]


def learning_rate_at(step: int, *, schedule: Schedule, base: float, steps: int, stages: int = 1) -> float:
    """The learning rate of update `step` (0 … steps − 1).

    "cosine" falls from `base` to a hundredth of it along half a cosine; "constant" stays. "stages" cuts the steps into
    `stages` pieces, each three times as long as the one before, with rate base · round(10^(1 − i/7), 1) / 10 in stage
    i = 0, 1, …: base · 1, 0.72, 0.52, 0.37, … (Burda et al. 2016, section 5, which has eight).
    """
    if schedule == "constant":
        return base
    if schedule == "stages":
        # Stages 0 … i end after 1 + 3 + … + 3^i = (3^{i+1} − 1)/2 parts of (3^stages − 1)/2.
        ends = ((3 ** (i + 1) - 1) * steps / (3**stages - 1) for i in range(stages - 1))
        stage = sum(step >= end for end in ends)
        return base * float(round(10 ** (1 - stage / 7), 1)) / 10
    turn = math.cos(math.pi * min(step / max(steps, 1), 1.0))
    return base * (0.01 + 0.99 * 0.5 * (1 + turn))


def warm_up_share(step: int, warm_up: int, *, cycle: int = 0) -> float:
    """How far a warm-up of `warm_up` steps has come at `step`: from 1/warm_up to 1.

    cycle: Steps after which it begins anew; 0 for never. Source: Fu et al. 2019, eq. 6 (arXiv 1903.10145).
    """
    since = step % cycle if cycle else step
    return 1.0 if warm_up <= 0 else min(1.0, (since + 1) / warm_up)
