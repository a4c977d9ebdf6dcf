"""Training and evaluation on a CUDA device, timed by its own events: `make bench-gpu`.

    python benchmarks/speed/gpu.py [--rounds 3] [--only epoch/vael conv] [--write docs/performance.md]

One process; the rows of a piece take turns. Work is warmed up first, and a pair of events on the stream stands around
what is timed, so that neither the launch of the first kernel nor the host's clock is counted. The fraction of the
device's rate is that of one large bf16 product, measured in the same call. Refuses without a device.
"""

import argparse
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from harness import Found, Piece, Row, machine, missing
from page import put, table

STEPS, WARM = 469, 60
SEEDS = 8
DEVICE = "cuda"


def device_seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds between two events on the current stream around `job`, and what it returned."""
    import torch

    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    result = job()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1000, result


def fresh_peak() -> None:
    """Begin to watch the device's memory anew."""
    import torch

    torch.cuda.reset_peak_memory_stats()


def device_peak() -> float:
    """Largest memory that tensors held on the device since `fresh_peak`, MiB."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def repeated(step: Callable[[], Any], count: int) -> dict[str, float]:
    """Device seconds of `count` steps after WARM others, and the peak of the device's memory."""
    for _ in range(WARM):
        step()

    def steps() -> None:
        for _ in range(count):
            step()

    fresh_peak()
    spent, _ = device_seconds(steps)
    return {"seconds": spent, "peak": device_peak()}


def tuned_step(networks: Any, data: Any, batch: int, *, bf16: bool = False) -> Callable[[], None]:
    """One step of a plain loop by hand on the device: resident data, logits, one head, fused Adam, no read-back."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    encoder, decoder = networks
    latent = encoder[-1].out_features // 2
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)

    def step() -> None:
        x = data.index_select(0, torch.randint(len(data), (batch,), device=DEVICE)) * (1 / 255)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            loc, log_scale = encoder(x).float().chunk(2, -1)
            z = loc + log_scale.exp() * torch.randn(batch, latent, device=DEVICE)
            logits = decoder(z).float()
        score = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
        ((score + rate) / batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def epoch_tuned(count: int) -> dict[str, float]:
    from work import BATCH, images, mlp_networks

    networks = tuple(network.to(DEVICE) for network in mlp_networks())
    return repeated(tuned_step(networks, images().to(DEVICE), BATCH), count)


def epoch_vael(count: int, capture: bool = True, **settings: object) -> dict[str, float]:
    from work import LONG, asked_training, images, vael_engine, vael_mlp, vael_split

    training, split = asked_training(LONG, **settings), vael_split(images(), 255.0).to(DEVICE)
    engine = vael_engine(vael_mlp().to(DEVICE), split, training, capture)
    found = repeated(engine.advance, count)
    return {**found, "loss": -engine.means()["elbo"]}


def epoch_pythae(count: int) -> dict[str, float]:
    import beside_pythae
    from work import BATCH, PIXELS, images, mlp_networks

    x = images()[: count * BATCH].float() / 255
    model = beside_pythae.model_of(*mlp_networks(), (PIXELS,))
    fresh_peak()
    # Its trainer reads each step's loss, so the host's clock and the device's agree.
    found = beside_pythae.epoch(model, x, batch=BATCH, warm=WARM, cuda=DEVICE == "cuda")
    return {**found, "peak": device_peak()}


def epoch_seeds(count: int) -> dict[str, float]:
    from work import LONG, asked_training, images, vael_engine, vael_mlp, vael_split

    from vael.training import Together

    training, split = asked_training(LONG), vael_split(images(), 255.0).to(DEVICE)
    engines = [vael_engine(vael_mlp(start=start).to(DEVICE), split, training) for start in range(SEEDS)]
    found = repeated(Together(engines).advance, count)
    return {**found, "loss": -sum(engine.means()["elbo"] for engine in engines) / SEEDS}


def evidence_vael(count: int) -> dict[str, float]:
    import torch
    from work import images, vael_mlp, vael_split

    from vael.evidence import Importance

    x = (images("test")[:count] > 127).byte()
    model, split, how = vael_mlp("Bernoulli", 0).to(DEVICE), vael_split(x).to(DEVICE), Importance(draws=5000)
    how(model, split.rows(torch.arange(min(64, count), device=DEVICE)))
    fresh_peak()
    spent, found = device_seconds(lambda: how(model, split))
    return {
        "seconds": spent,
        "loss": float(found.value.mean()),
        "peak": device_peak(),
    }


def conv_tuned(count: int, bf16: bool = False) -> dict[str, float]:
    import torch
    from conv import networks, pictures
    from work import BATCH

    layout = torch.channels_last
    own = tuple(network.to(DEVICE).to(memory_format=layout) for network in networks())
    return repeated(tuned_step(own, pictures().to(DEVICE).contiguous(memory_format=layout), BATCH, bf16=bf16), count)


def conv_vael(count: int, **settings: object) -> dict[str, float]:
    from conv import pictures, vael_model
    from work import LONG, asked_training, vael_engine, vael_split

    training = asked_training(LONG, **settings)
    engine = vael_engine(vael_model().to(DEVICE), vael_split(pictures(), 255.0).to(DEVICE), training)
    return repeated(engine.advance, count)


def product_rate() -> float:
    """FLOP/s of one bf16 product of 8192³ on this device, the best of 20."""
    import torch

    size = 8192
    left, right = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    return 2 * size**3 / min(device_seconds(lambda: left @ right)[0] for _ in range(20))


def conv_work() -> int:
    """FLOP of one step of the convolutional rows, as torch counts products and convolutions."""
    from conv import networks, pictures
    from torch.utils.flop_counter import FlopCounterMode
    from work import BATCH

    step = tuned_step(tuple(network.to(DEVICE) for network in networks()), pictures().to(DEVICE), BATCH)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


EPOCH = Piece(
    name="gpu-epoch",
    title="On a GPU: training an MLP VAE, one epoch of MNIST",
    work="MLP VAE 784-400-20, grey MNIST, batch 128, 469 steps; data resident on the device but for Pythae's.",
    rows=(
        Row("pythae", epoch_pythae, "Pythae's own trainer", ("torch", "pythae")),
        Row("tuned", epoch_tuned, "a plain loop by hand"),
        Row("vael", epoch_vael, "vael as it comes"),
        Row("vael-eager", lambda count: epoch_vael(count, capture=False), "vael without a captured graph"),
        Row("vael-bf16", lambda count: epoch_vael(count, precision="bf16"), "with `--precision bf16`"),
        Row("vael-seeds", epoch_seeds, f"{SEEDS} seeds as one batched model"),
    ),
    count=STEPS,
    scale=STEPS * 1e3,
    unit="ms an epoch",
    beside=("pythae", "tuned"),
    losses="loss, nats",
)
EVIDENCE = Piece(
    name="gpu-evidence",
    title="On a GPU: L₅₀₀₀ of 10,000 test images",
    work="log p(x) by importance sampling, K = 5000, MLP 784-400-20 with random weights, images cut at one half.",
    rows=(Row("vael", evidence_vael, "`vael.evidence.Importance`"),),
    count=10_000,
    scale=10_000,
    unit="s for 10,000",
    beside=(),
    losses="log p(x), nats",
)
CONV = Piece(
    name="gpu-conv",
    title="On a GPU: training a convolutional VAE",
    work="The convolutional VAE of the piece `conv`, batch 128.",
    rows=(
        Row("tuned", conv_tuned, "a plain loop by hand, channels last"),
        Row("tuned-bf16", lambda count: conv_tuned(count, bf16=True), "the same under autocast to bf16"),
        Row("vael", conv_vael, "vael as it comes"),
        Row("vael-bf16", lambda count: conv_vael(count, precision="bf16"), "with `--precision bf16`"),
    ),
    count=200,
    scale=1e3,
    unit="ms a step",
    beside=("tuned",),
)
PIECES = (EPOCH, EVIDENCE, CONV)


def measure(piece: Piece, rows: list[Row], rounds: int) -> dict[str, Found]:
    """All samples, the rows taking turns; a row that fails is left out with its reason."""
    found: dict[str, Found] = {}
    for turn in range(rounds):
        for row in rows:
            before = found.get(row.name, Found())
            gone = before.left_out or missing(row.needs)
            try:
                got = {} if gone else row.job(piece.count)
            except Exception as reason:  # a row that fails must not take the others' figures with it
                gone = (str(reason) or type(reason).__name__).splitlines()[0]
            if gone:
                found[row.name] = Found(left_out=gone)
                continue
            values = (*before.values, got["seconds"] / piece.count * piece.scale)
            found[row.name] = Found(
                values, got["peak"], losses=(*before.losses, *([got["loss"]] if "loss" in got else []))
            )
            print(f"{piece.name}, round {turn + 1}: {row.name}: {values[-1]:.4g} {piece.unit}", file=sys.stderr)
    return found


def fractions(found: dict[str, Found]) -> str:
    """What share of the device's bf16 rate each convolutional row comes to."""
    work, rate = conv_work(), product_rate()
    shares = [f"`{name}` {work / (one.least / 1e3) / rate:.1%}" for name, one in found.items() if one.values]
    said = f"A step is {work / 1e9:.1f} GFLOP; one bf16 product of 8192³ runs at {rate / 1e12:.0f} TFLOP/s here. "
    return said + f"Of that rate: {', '.join(shares)}."


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--only", nargs="+", default=[], metavar="PIECE[/ROW]", help="without gpu-, such as epoch/vael")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--write", type=Path, help="a page to put the tables into")
    asked = ask.parse_args()
    if missing(["torch"]):
        sys.exit("bench-gpu: torch is not installed.")
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            "bench-gpu: torch finds no CUDA device here.\n  Run it where one is, or `make bench` for the processor."
        )
    said = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; {machine()}"
    for piece in PIECES:
        names = [(row, piece.name.removeprefix("gpu-")) for row in piece.rows]
        rows = [
            row
            for row, name in names
            if not asked.only or any(fnmatch(name, one) or fnmatch(f"{name}/{row.name}", one) for one in asked.only)
        ]
        if not rows:
            continue
        found = measure(piece, rows, asked.rounds)
        parts = [piece.work, f"{said}. {asked.rounds} round(s). Memory is the device's.", table(piece, found)]
        if piece is CONV:
            parts.append(fractions(found))
        text = "\n\n".join(parts)
        print(f"\n## {piece.title}\n\n{text}", flush=True)
        if asked.write:
            put(asked.write, piece.name, text)


if __name__ == "__main__":
    main()
