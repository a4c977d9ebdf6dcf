"""A row whose columns have different laws, under one decoder."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field
from vael.distributions.product import Product
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood


class Part(NamedTuple):
    """Columns of x, by number, and the likelihood that scores them."""

    columns: Sequence[int]
    likelihood: Likelihood


class Mixed(Likelihood):
    """Each field of a row under its own likelihood, all fed by one decoder.

        log p(x|z) = Σ_parts log p_part(x[columns] | network(z)[its outputs])

    Args:
        network: z → the parameters of every part, one part after the other; `Mixed.outputs_for(parts)` of them.
        parts: `(columns, likelihood)` pairs; together the columns are 0 … F − 1, each once; the likelihoods have no
            network of their own and event_shape (len(columns),).
    """

    def __init__(
        self, network: nn.Module | None = None, *, parts: Sequence[Part | tuple[Sequence[int], Likelihood]]
    ) -> None:
        self._check(parts)
        super().__init__(network, sum(len(columns) for columns, _ in parts))
        self.parts = [Part(list(columns), likelihood) for columns, likelihood in parts]
        self.members = nn.ModuleList(part.likelihood for part in self.parts)
        for number, part in enumerate(self.parts):
            self.register_buffer(f"_columns_{number}", torch.tensor(part.columns), persistent=False)

    @staticmethod
    def _check(parts: Sequence[Any]) -> None:
        columns = sorted(column for part in parts for column in part[0])
        if columns != list(range(len(columns))) or not columns:
            raise RecipeError(f"Mixed: the parts' columns must be 0 … F − 1, each once, got {columns}.")
        for its_columns, likelihood in parts:
            if getattr(likelihood, "scale", None) == "optimal":
                raise RecipeError("Mixed: scale='optimal' is solved for over all of x; give its Gaussian per_feature.")
            if likelihood.event_shape != (len(its_columns),):
                raise RecipeError(
                    f"Mixed: {type(likelihood).__name__} over {len(its_columns)} columns must have event_shape "
                    f"({len(its_columns)},), got {likelihood.event_shape}."
                )

    @staticmethod
    def outputs_for(parts: Sequence[Part | tuple[Sequence[int], Likelihood]]) -> int:
        """How many outputs the decoder of these parts needs."""
        return sum(likelihood.width() * len(columns) for columns, likelihood in parts)

    def scored(self, fields: Sequence[Field]) -> list[Field]:
        found = list(fields)
        for part in self.parts:
            its_own = part.likelihood.scored([fields[column] for column in part.columns])
            for column, field in zip(part.columns, its_own, strict=True):
                found[column] = field
        return found

    def has_density(self) -> bool:
        return all(part.likelihood.has_density() for part in self.parts)

    def unpacked(self, out: Tensor) -> Tensor:
        """Parts differ in width, so the output stays flat, `(..., outputs)`; its width is checked in `distribution`."""
        return out

    def distribution(self, parameters: Tensor) -> Product:
        """The network's output `(..., outputs)` → product of the parts' laws, batch shape `(..., F)`."""
        sizes = [part.likelihood.width() * len(part.columns) for part in self.parts]
        if parameters.shape[-1] != sum(sizes):
            raise RecipeError(f"Mixed: the decoder gives {parameters.shape[-1]} outputs, the parts take {sum(sizes)}.")
        laws = []
        for number, (part, piece) in enumerate(zip(self.parts, parameters.split(sizes, -1), strict=True)):
            law = part.likelihood.distribution(part.likelihood.unpacked(piece))
            laws.append((self.get_buffer(f"_columns_{number}"), law))
        return Product(laws)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        pieces = [
            part.likelihood.draw(piece, generator) for part, (_, piece) in zip(self.parts, law.parts, strict=True)
        ]
        gathered: Tensor = law.gather(pieces)
        return gathered

    def centre(self, law: Any) -> Tensor:
        pieces = [part.likelihood.centre(piece) for part, (_, piece) in zip(self.parts, law.parts, strict=True)]
        gathered: Tensor = law.gather(pieces)
        return gathered

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Every part's own start, flat, `(1, outputs)`; zeros where a part has none."""
        pieces = []
        for part in self.parts:
            columns = torch.tensor(part.columns)
            start = part.likelihood.marginal(x[:, columns], observed[:, columns])
            pieces.append(torch.zeros(part.likelihood.width() * len(columns)) if start is None else start.flatten())
        return torch.cat(pieces).unsqueeze(0)
