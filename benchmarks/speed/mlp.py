"""Training an MLP VAE on grey MNIST: 784-400-20 and back, batch 128, Adam at 1e-3."""

import os
import tempfile
from pathlib import Path

from harness import Piece, Row, Watch

STEPS = 469


def pythae(count: int) -> dict[str, float]:
    import beside_pythae
    from work import BATCH, PIXELS, WARM, images, mlp_networks

    x = images()[: count * BATCH].float() / 255
    model = beside_pythae.model_of(*mlp_networks(), (PIXELS,))
    return beside_pythae.epoch(model, x, batch=BATCH, warm=WARM)


def example(count: int) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy
    from torch.utils.data import DataLoader, TensorDataset
    from work import BATCH, HIDDEN, LATENT, WARM, images, mlp_networks

    x = images().float() / 255
    (first, _, head), decoder = mlp_networks()
    body, loc_head, log_var_head = nn.Sequential(first, nn.ReLU()), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
    with torch.no_grad():
        loc_head.weight.copy_(head.weight[:LATENT])
        log_var_head.weight.copy_(2 * head.weight[LATENT:])
    layers = nn.ModuleList([body, loc_head, log_var_head, decoder])
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-3)

    def epoch(rows: int) -> float:
        total = 0.0
        for (batch,) in DataLoader(TensorDataset(x[:rows]), batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            features = body(batch)
            loc, log_var = loc_head(features), log_var_head(features)
            std = torch.exp(0.5 * log_var)
            z = loc + torch.randn_like(std) * std
            seen = torch.sigmoid(decoder(z))
            score = binary_cross_entropy(seen, batch, reduction="sum")
            loss = score - 0.5 * torch.sum(1 + log_var - loc.pow(2) - log_var.exp())
            loss.backward()
            total += loss.item()
            optimizer.step()
        return total

    epoch(WARM * BATCH)
    watch = Watch()
    total = epoch(count * BATCH)
    return {**watch.read(), "loss": total / min(count * BATCH, len(x))}


def tuned(count: int) -> dict[str, float]:
    import torch
    from work import BATCH, LATENT, PIXELS, WARM, batches, images, mlp_networks, tuned_loop

    data = images().float() / 255
    encoder, decoder = mlp_networks()
    x, order = torch.empty(BATCH, PIXELS), iter(batches(len(data), BATCH, count + WARM))
    return tuned_loop(encoder, decoder, lambda: torch.index_select(data, 0, next(order), out=x), count, latent=LATENT)


def vael(count: int, everything: bool = False, **settings: object) -> dict[str, float]:
    from work import images, vael_epoch, vael_mlp, vael_split

    model, split = vael_mlp(), vael_split(images(), 255.0)
    if not everything:
        return vael_epoch(model, split, count, **settings)
    import torch

    from vael.evaluation import bounds, fixed_noise
    from vael.files import save_tensors
    from vael.training import Progress, snapshot

    validation = split.rows(torch.arange(5000))
    noise = fixed_noise(model, validation)

    def keep(engine: object) -> None:
        bounds(model, validation, noise=noise)
        with tempfile.TemporaryDirectory() as folder:
            save_tensors(Path(folder) / "last.safetensors", *snapshot(engine, Progress()))

    return vael_epoch(model, split, count, after=keep, **settings)


def jax(count: int) -> dict[str, float]:
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    if threads and hasattr(os, "sched_setaffinity"):  # its pool has a thread for every core it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    from beside_jax import epoch

    return epoch(count)


def products(count: int, bf16: bool = False) -> dict[str, float]:
    import torch
    from work import BATCH, clock, mlp_networks

    kind = torch.bfloat16 if bf16 else torch.float32
    jobs = []
    for network in mlp_networks():
        for layer in (network[0], network[2]):
            weight = layer.weight.detach().to(kind)
            x = torch.randn(BATCH, layer.in_features).to(kind)
            y = torch.randn(BATCH, layer.out_features).to(kind)
            jobs.append((x, weight, y, torch.empty_like(y), torch.empty_like(weight), torch.empty_like(x)))

    def step() -> None:
        for x, weight, _, out, _, _ in jobs:
            torch.mm(x, weight.T, out=out)
        for place, (x, weight, y, _, gradient, back) in enumerate(jobs):
            torch.mm(y.T, x, out=gradient)
            if place:  # nothing goes back into x
                torch.mm(y, weight, out=back)

    return clock(step, count, reset=lambda: None)


MLP = Piece(
    name="mlp",
    title="Training an MLP VAE, one epoch of MNIST",
    work="MLP VAE 784-400-20, ReLU, cross entropy of grey MNIST, Adam at 1e-3, batch 128: 60,000 images, 469 steps, "
    "197 GFLOP in eleven matrix products a step. All rows of a round begin at the same weights, but for "
    "JAX's; the loss is the mean over this epoch, after 40 steps, and its deviation over the rounds, a seed each.",
    rows=(
        Row("pythae", pythae, "Pythae's own trainer, no evaluation; two heads, sigmoid", ("torch", "pythae")),
        Row("example", example, "the loop of PyTorch's example: DataLoader over a TensorDataset, Adam as it comes"),
        Row("tuned", tuned, "a plain loop by hand: resident data, logits, one head, fused Adam, nothing read back"),
        Row("vael", vael, "the loop of `vael fit`, between its evaluations"),
        Row(
            "vael-all", lambda count: vael(count, everything=True), "with one evaluation of 5,000 rows and a checkpoint"
        ),
        Row("vael-compile", lambda count: vael(count, compile=True), "with `--compile`"),
        Row("vael-bf16", lambda count: vael(count, precision="bf16"), "with `--precision bf16`"),
        Row("jax", jax, "JAX: the epoch as one jitted scan, optax.adam", ("jax", "optax")),
        Row("products", products, "the eleven matrix products of a step and nothing else"),
        Row("products-bf16", lambda count: products(count, bf16=True), "the same in bf16"),
    ),
    count=STEPS,
    scale=STEPS,
    unit="s an epoch",
    beside=("pythae", "tuned", "products"),
    losses="loss, nats",
)
