"""How far each factor of the data has a latent of its own: four measures of one table of codes and factors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.errors import RecipeError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

BINS = 20
DEAD = 0.05  # share of the largest standard deviation below which a unit carries nothing to vote by


@dataclass(frozen=True)
class Disentanglement:
    """Four measures, each 0 for none and 1 for one factor to each unit, and what they rest on.

    mig: Mutual information gap. sap: Separated attribute predictability. factor: FactorVAE's vote. Disentanglement,
    completeness and informativeness by a forest's importances. informations: `(D, F)` nats between unit and factor.
    """

    mig: float
    sap: float
    factor: float
    disentanglement: float
    completeness: float
    informativeness: float
    informations: Floats


def disentanglement(codes: Floats, factors: Codes, *, seed: int = 0) -> Disentanglement:
    """All measures of codes `(N, D)`, such as posterior means, and factors `(N, F)` as whole numbers from 0.

    Raises RecipeError for fewer than two units, a factor of one value, or tables of unequal length.
    """
    check(codes, factors)
    shared = informations(codes, factors)
    parts = dci(codes, factors, seed=seed)
    return Disentanglement(
        mig=mig(shared, factors), sap=sap(codes, factors), factor=factor_score(codes, factors, seed=seed),
        disentanglement=parts[0], completeness=parts[1], informativeness=parts[2], informations=shared,
    )  # fmt: skip


def check(codes: Floats, factors: Codes) -> None:
    """Raise RecipeError unless there is something to measure."""
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise RecipeError(
            f"disentanglement: codes have shape {codes.shape} and factors {factors.shape}; expected (N, D) and (N, F)."
        )
    if codes.shape[1] < 2:
        raise RecipeError(f"disentanglement: needs at least 2 units to tell apart, got {codes.shape[1]}.")
    constant = [column for column in range(factors.shape[1]) if len(np.unique(factors[:, column])) < 2]
    if constant:
        raise RecipeError(f"disentanglement: factor {constant[0]} has one value, of which nothing can be told.")


def informations(codes: Floats, factors: Codes, bins: int = BINS) -> Floats:
    """I(z_j; v_k) in nats, `(D, F)`, of each unit cut into `bins` of equal width and each factor.

    Plug-in estimates, which are too high by about (bins − 1)(levels − 1) / 2N.
    """
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for unit in range(codes.shape[1]):
        edges = np.histogram_bin_edges(codes[:, unit], bins)
        cell = np.clip(np.digitize(codes[:, unit], edges[1:-1]), 0, bins - 1)
        for column in range(factors.shape[1]):
            _, level = np.unique(factors[:, column], return_inverse=True)
            table = np.zeros((bins, level.max() + 1))
            np.add.at(table, (cell, level), 1.0 / len(codes))
            outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
            seen = table > 0
            found[unit, column] = (table[seen] * np.log(table[seen] / outer[seen])).sum()
    return found


def entropy(factor: Codes) -> float:
    """Of one factor, nats."""
    share = np.unique(factor, return_counts=True)[1] / len(factor)
    return float(-(share * np.log(share)).sum())


def mig(shared: Floats, factors: Codes) -> float:
    """Mean over factors of (largest − second information of a unit) / entropy of the factor.

    Source: Chen et al. 2018, section 4.1 (arXiv 1802.04942).
    """
    ranked = np.sort(shared, 0)[::-1]
    heights = np.array([entropy(factors[:, column]) for column in range(factors.shape[1])])
    return float(((ranked[0] - ranked[1]) / heights).mean())


def sap(codes: Floats, factors: Codes) -> float:
    """Mean over factors of the gap between the two units that tell it best, by the squared correlation.

    Source: Kumar, Sattigeri & Balakrishnan 2018, section 3 (arXiv 1711.00848), for factors that are numbers.
    """
    spread = codes.std(0)
    centred = (codes - codes.mean(0)) / np.where(spread > 0, spread, 1)
    gaps = []
    for column in range(factors.shape[1]):
        value = factors[:, column].astype(np.float64)
        value = (value - value.mean()) / value.std()
        told = np.sort((centred * value[:, None]).mean(0) ** 2)[::-1]
        gaps.append(told[0] - told[1])
    return float(np.mean(gaps))


def factor_score(codes: Floats, factors: Codes, *, votes: int = 800, batch: int = 64, seed: int = 0) -> float:
    """How often the unit that varies least while one factor is held tells which factor that was.

    For each vote a factor and a value of it are drawn, `batch` examples that have it, and the unit of least variance
    relative to its own over all data; a majority of half of the votes maps units to factors, the other half judges.
    Source: Kim & Mnih 2018, section 4 (arXiv 1802.05983).
    """
    generator = np.random.default_rng(seed)
    whole = codes.var(0)
    alive = np.flatnonzero(np.sqrt(whole) >= DEAD * np.sqrt(whole.max()))
    table = np.zeros((codes.shape[1], factors.shape[1], 2), np.int64)
    for vote in range(votes):
        column = generator.integers(factors.shape[1])
        value = factors[generator.integers(len(factors)), column]
        held = np.flatnonzero(factors[:, column] == value)
        chosen = codes[generator.choice(held, batch)]
        unit = alive[np.argmin(chosen[:, alive].var(0) / whole[alive])]
        table[unit, column, vote % 2] += 1
    told = table[:, :, 0].argmax(1)
    right = table[np.arange(len(table)), told, 1].sum()
    return float(right / table[:, :, 1].sum())


def dci(codes: Floats, factors: Codes, *, seed: int = 0) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness by the importances R `(D, F)` of a gradient-free forest.

        D = Σ_j ρ_j (1 − H_F(R_j·)),    C = Σ_k mean (1 − H_D(R_·k)),    I = accuracy on the other half

    with entropies to the base of how many there are, and ρ_j a unit's share of all importance.
    Source: Eastwood & Williams 2018, A framework for the quantitative evaluation of disentangled representations.
    """
    from sklearn.ensemble import RandomForestClassifier

    half = len(codes) // 2
    order = np.random.default_rng(seed).permutation(len(codes))
    fitted, judged = order[:half], order[half:]
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    accuracy = []
    for column in range(factors.shape[1]):
        forest: Any = RandomForestClassifier(30, max_depth=12, random_state=seed, max_features=None)
        forest.fit(codes[fitted], factors[fitted, column])
        importance[:, column] = forest.feature_importances_
        accuracy.append(float((forest.predict(codes[judged]) == factors[judged, column]).mean()))
    share = importance.sum(1) / importance.sum()
    return (
        float((share * (1 - spread(importance))).sum()),
        float((1 - spread(importance.T)).mean()),
        float(np.mean(accuracy)),
    )


def spread(importance: Floats) -> Floats:
    """Entropy of each row as a share of the largest it could have, 0 … 1."""
    total = importance.sum(1, keepdims=True)
    p = importance / np.where(total > 0, total, 1)
    logs = np.where(p > 0, np.log(np.where(p > 0, p, 1)), 0)
    heights: Floats = -(p * logs).sum(1) / np.log(importance.shape[1])
    return np.where(total[:, 0] > 0, heights, 1.0)
