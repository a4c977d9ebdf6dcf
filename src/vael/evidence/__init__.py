"""log p(x) with an error bar."""

from vael.evidence.estimate import Estimate
from vael.evidence.exact import LinearGaussian, exact, linear_gaussian
from vael.evidence.importance import importance

__all__ = ["Estimate", "LinearGaussian", "exact", "importance", "linear_gaussian"]
