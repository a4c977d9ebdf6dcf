"""Training a convolutional VAE on 32 × 32 colour pictures: four strides of two, batch 128."""

from typing import Any

from harness import Piece, Row, seed

CHANNELS, LATENT, SIZE = (32, 64, 128, 256), 128, 32
STEPS, WARM = 30, 5


def pictures() -> Any:
    """`(4096, 3, 32, 32)` uint8: random bytes, since the time does not depend on what is seen."""
    import torch

    return torch.randint(0, 256, (4096, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def networks() -> Any:
    """Encoder → (loc, log scale) `(B, 256)` and decoder → logits `(B, 3, 32, 32)`, kernels of 4, ReLU."""
    import torch
    from torch import nn

    torch.manual_seed(seed())
    down: list[nn.Module] = []
    for before, after in zip((3, *CHANNELS), CHANNELS, strict=False):
        down += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    coarse = (CHANNELS[-1], SIZE >> 4, SIZE >> 4)
    flat = coarse[0] * coarse[1] * coarse[2]
    up: list[nn.Module] = [nn.Linear(LATENT, flat), nn.Unflatten(1, coarse)]
    back = CHANNELS[::-1]
    for before, after in zip(back, (*back[1:], 3), strict=True):
        up += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
    return nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, 2 * LATENT)), nn.Sequential(*up)


def pythae(count: int) -> dict[str, float]:
    import beside_pythae
    import torch
    from work import BATCH

    x = pictures()[torch.arange(count * BATCH) % 4096].float() / 255
    model = beside_pythae.model_of(*networks(), (3, SIZE, SIZE))
    return beside_pythae.epoch(model, x, batch=BATCH, warm=WARM)


def tuned(count: int, last: bool = False) -> dict[str, float]:
    import torch
    from work import BATCH, batches, tuned_loop

    encoder, decoder = networks()
    layout = torch.channels_last if last else torch.contiguous_format
    encoder, decoder = encoder.to(memory_format=layout), decoder.to(memory_format=layout)
    data = (pictures().float() / 255).contiguous(memory_format=layout)
    order = iter(batches(len(data), BATCH, count + WARM))

    def batch() -> torch.Tensor:
        return data.index_select(0, next(order)).contiguous(memory_format=layout)

    return tuned_loop(encoder, decoder, batch, count, latent=LATENT, warm=WARM)


def vael_model() -> Any:
    """vael's VAE of the same layers."""
    import torch

    from vael import VAE
    from vael.likelihoods import GreyBernoulli
    from vael.networks import ConvDecoder, ConvEncoder
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior

    torch.manual_seed(seed())
    shape = [3, SIZE, SIZE]
    encoder = ConvEncoder(shape, CHANNELS, 2 * LATENT, activation="relu")
    decoder = ConvDecoder(LATENT, CHANNELS[::-1], shape, activation="relu")
    return VAE(GaussianPrior(LATENT), GreyBernoulli(decoder), GaussianPosterior(encoder))


def vael(count: int, **settings: object) -> dict[str, float]:
    from work import vael_epoch, vael_split

    return vael_epoch(vael_model(), vael_split(pictures(), 255.0), count, warm=WARM, **settings)


def products(count: int, bf16: bool = False) -> dict[str, float]:
    import torch
    from torch import nn
    from work import BATCH, clock

    kind, jobs, linears = torch.bfloat16 if bf16 else torch.float32, [], []
    for network, x in zip(networks(), (torch.randn(BATCH, 3, SIZE, SIZE), torch.randn(BATCH, LATENT)), strict=True):
        for layer in network:
            y = layer(x).detach()
            if isinstance(layer, nn.Linear):
                linears.append([t.detach().to(kind) for t in (x, layer.weight, y)])
            elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                last = [t.detach().to(kind).contiguous(memory_format=torch.channels_last) for t in (x, layer.weight, y)]
                jobs.append((*last, isinstance(layer, nn.ConvTranspose2d), x.shape[1] != 3))
            x = y
    two, one, none = [2, 2], [1, 1], [0, 0]

    def step() -> None:
        for x, weight, _, up, _ in jobs:
            torch.convolution(x, weight, None, two, one, one, up, none, 1)
        for x, weight, y in linears:
            torch.mm(x, weight.T), torch.mm(y, weight), torch.mm(y.T, x)
        for x, weight, y, up, back in jobs:
            torch.ops.aten.convolution_backward(y, x, weight, None, two, one, one, up, none, 1, [back, True, False])

    with torch.no_grad():
        return clock(step, count, reset=lambda: None, warm=WARM)


CONV = Piece(
    name="conv",
    title="Training a convolutional VAE on 32 × 32 colour pictures",
    work="Convolutional VAE 32 × 32 × 3, four convolutions of kernel 4 and stride 2 (32, 64, 128, 256 channels), 128 "
    "latents, and back; ReLU, cross entropy, Adam at 1e-3, batch 128, random bytes: 82 MFLOP a picture and step. "
    "vael's decoder adds a bias for each pixel in the end, which the others lack.",
    rows=(
        Row("pythae", pythae, "Pythae's own trainer, no evaluation; two heads, sigmoid", ("torch", "pythae")),
        Row("tuned", tuned, "a plain loop by hand, channels first"),
        Row("tuned-last", lambda count: tuned(count, last=True), "the same, channels last"),
        Row("vael", vael, "the loop of `vael fit`, between its evaluations"),
        Row("vael-compile", lambda count: vael(count, compile=True), "with `--compile`"),
        Row("vael-bf16", lambda count: vael(count, precision="bf16"), "with `--precision bf16`"),
        Row("products", products, "convolutions and matrix products alone, channels last"),
        Row("products-bf16", lambda count: products(count, bf16=True), "the same in bf16"),
    ),
    count=STEPS,
    scale=1e3,
    unit="ms a step",
    beside=("pythae", "tuned", "products"),
    losses="loss, nats",
)
