"""The same training in JAX: an epoch is one jitted scan. Imports no torch, so that its memory is its own."""

import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from harness import Watch, seed

PIXELS, HIDDEN, LATENT, BATCH = 784, 400, 20, 128


def images() -> np.ndarray:
    """MNIST's grey values `(60000, 784)`, uint8; random bytes where $VAEL_DATA has no mnist.npz."""
    path = Path(os.environ.get("VAEL_DATA", "")) / "mnist.npz"
    if path.is_file():
        with np.load(path) as held:
            return held["x_train"].reshape(-1, PIXELS)
    return np.random.default_rng(0).integers(0, 256, (60_000, PIXELS), dtype=np.uint8)


def layer(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    """Weights and biases as torch draws them: uniform within 1/√inputs."""
    bound, (first, second) = inputs**-0.5, jax.random.split(key)
    weight = jax.random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound)
    return weight, jax.random.uniform(second, (outputs,), minval=-bound, maxval=bound)


def loss(weights: dict, x: jax.Array, key: jax.Array) -> jax.Array:
    """−ELBO of a batch, nats per example."""

    def affine(name: str, h: jax.Array) -> jax.Array:
        weight, bias = weights[name]
        return h @ weight + bias

    loc, log_scale = jnp.split(affine("head", jax.nn.relu(affine("encoder", x))), 2, -1)
    z = loc + jnp.exp(log_scale) * jax.random.normal(key, loc.shape)
    logits = affine("logits", jax.nn.relu(affine("decoder", z)))
    score = (jax.nn.softplus(logits) - x * logits).sum(-1)
    rate = 0.5 * (loc**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale).sum(-1)
    return (score + rate).mean()


def epoch(count: int) -> dict[str, float]:
    """Seconds and mean loss of `count` steps in one scan, after the same scan has been compiled and run once.

    The first run's weights are thrown away, but for its first 40 steps: the timed one starts where the others do.
    """
    data = jnp.asarray(images().astype(np.float32) / 255)
    keys = jax.random.split(jax.random.key(seed()), 4)
    widths = {"encoder": (PIXELS, HIDDEN), "head": (HIDDEN, 2 * LATENT), "decoder": (LATENT, HIDDEN)}
    widths["logits"] = (HIDDEN, PIXELS)
    weights = {name: layer(key, *width) for key, (name, width) in zip(keys, widths.items(), strict=True)}
    optimizer = optax.adam(1e-3)

    def step(carry, chosen):
        weights, state, key = carry
        key, own = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(weights, data[chosen], own)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(weights, updates), state, key), value

    scan = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order))
    rng = np.random.default_rng(seed())

    def order(steps: int) -> jax.Array:
        epochs = [rng.permutation(len(data)) for _ in range(-(-steps * BATCH // len(data)))]
        return jnp.asarray(np.concatenate(epochs)[: steps * BATCH].reshape(steps, BATCH))

    carry = (weights, optimizer.init(weights), jax.random.key(seed() + 1000))
    before = time.perf_counter()
    jax.block_until_ready(scan(carry, order(count)))
    first = time.perf_counter() - before
    carry, _ = scan(carry, order(40))
    places = jax.block_until_ready(order(count))
    watch = Watch()
    _, values = jax.block_until_ready(scan(carry, places))
    return {**watch.read(), "first": first, "loss": float(values.mean())}
