"""Nats inside, bits at the edge. The only file that knows log 2."""

import math


def bits_per_dim(nats: float, dims: float) -> float:
    """Bits per dimension of a code of `nats` nats for an example with `dims` discrete dimensions, on average."""
    if not dims > 0:
        raise ValueError(f"bits_per_dim: dims must be above 0, got {dims}.")
    return nats / (dims * math.log(2.0))
