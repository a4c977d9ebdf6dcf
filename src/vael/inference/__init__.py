"""Posteriors and parameters found otherwise than by an encoder and its gradient."""

from vael.inference.begin import begin_at
from vael.inference.em import em
from vael.inference.principal_components import principal_components

__all__ = ["begin_at", "em", "principal_components"]
