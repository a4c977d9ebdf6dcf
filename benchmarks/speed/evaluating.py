"""log p(x), encoding and sampling with an MLP of random weights: 784-400-20 and back."""

import math
from collections.abc import Callable
from typing import Any

from harness import Piece, Row, Watch

DRAWS = 1000


def timed(job: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds of `job`, and what it returned."""
    watch = Watch()
    result = job()
    return watch.read(), result


def binary(count: int) -> Any:
    """The first test images, cut at one half: `(count, 784)` uint8."""
    from work import images

    return (images("test")[:count] > 127).byte()


def evidence_pythae(count: int) -> dict[str, float]:
    import beside_pythae
    from work import mlp_networks

    model, x = beside_pythae.model_of(*mlp_networks(0), (784,)).eval(), binary(count).float()
    model.get_nll(x[:1], n_samples=DRAWS, batch_size=100)
    spent, value = timed(lambda: model.get_nll(x, n_samples=DRAWS, batch_size=100))
    return {**spent, "loss": float(value)}


def evidence_plain(count: int) -> dict[str, float]:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits
    from work import LATENT, mlp_networks

    (encoder, decoder), x = mlp_networks(0), binary(count).float()

    def all_images(x: torch.Tensor) -> float:
        total = 0.0
        locs, log_scales = encoder(x).chunk(2, -1)
        for image, loc, log_scale in zip(x, locs, log_scales, strict=True):
            eps = torch.randn(DRAWS, LATENT)
            z = torch.addcmul(loc, log_scale.exp(), eps)
            score = -binary_cross_entropy_with_logits(decoder(z), image.expand(DRAWS, -1), reduction="none").sum(-1)
            log_w = score - 0.5 * z.square().sum(-1) + 0.5 * eps.square().sum(-1) + log_scale.sum()
            total += float(log_w.logsumexp(0)) - math.log(DRAWS)
        return total / len(x)

    with torch.inference_mode():
        all_images(x[:2])
        spent, value = timed(lambda: all_images(x))
    return {**spent, "loss": value}


def evidence_vael(count: int) -> dict[str, float]:
    import torch
    from work import vael_mlp, vael_split

    from vael.evidence import Importance

    model, split, how = vael_mlp("Bernoulli", 0), vael_split(binary(count)), Importance(draws=DRAWS)
    how(model, split.rows(torch.arange(min(2, count))))
    spent, found = timed(lambda: how(model, split))
    return {**spent, "loss": float(found.value.mean())}


def evidence_products(count: int) -> dict[str, float]:
    import torch
    from work import HIDDEN, LATENT, PIXELS, mlp_networks

    _, decoder = mlp_networks(0)
    first, second = decoder[0].weight.detach().T, decoder[2].weight.detach().T
    z, h = torch.randn(DRAWS, LATENT), torch.randn(DRAWS, HIDDEN)
    hidden, logits = torch.empty(DRAWS, HIDDEN), torch.empty(DRAWS, PIXELS)

    def all_images(images: int) -> None:
        for _ in range(images):
            torch.mm(z, first, out=hidden)
            torch.mm(h, second, out=logits)

    all_images(5)
    return timed(lambda: all_images(count))[0]


def encode_pythae(count: int) -> dict[str, float]:
    import beside_pythae
    from work import images, mlp_networks

    model, x = beside_pythae.model_of(*mlp_networks(0), (784,)).eval(), images()[:count].float() / 255
    model.embed(x[:1000])
    return timed(lambda: model.embed(x))[0]


def encode_plain(count: int) -> dict[str, float]:
    import torch
    from work import LATENT, images, mlp_networks

    (encoder, _), x = mlp_networks(0), images()[:count]

    def all_images(x: torch.Tensor) -> Any:
        found = [encoder(piece.float() / 255) for piece in x.split(4096)]
        loc, log_scale = torch.cat(found).split(LATENT, -1)
        return loc, log_scale.exp()

    with torch.inference_mode():
        all_images(x[:4096])
        return timed(lambda: all_images(x))[0]


def encode_vael(count: int) -> dict[str, float]:
    import torch
    from work import images, vael_mlp, vael_split

    from vael.applications import encode

    model, split = vael_mlp(start=0), vael_split(images()[:count], 255.0)
    encode(model, split.rows(torch.arange(min(4096, count))))
    return timed(lambda: encode(model, split))[0]


def encode_products(count: int) -> dict[str, float]:
    import torch
    from work import HIDDEN, PIXELS, mlp_networks

    encoder, _ = mlp_networks(0)
    first, second, piece = encoder[0].weight.detach().T, encoder[2].weight.detach().T, min(4096, count)
    x, h = torch.randn(piece, PIXELS), torch.randn(piece, HIDDEN)
    hidden, out = torch.empty(piece, HIDDEN), torch.empty(piece, second.shape[1])

    def all_images(rows: int) -> None:
        for first_row in range(0, rows, piece):
            some = min(piece, rows - first_row)
            torch.mm(x[:some], first, out=hidden[:some])
            torch.mm(h[:some], second, out=out[:some])

    all_images(piece)
    return timed(lambda: all_images(count))[0]


def sample_pythae(count: int) -> dict[str, float]:
    import beside_pythae
    from pythae.samplers import NormalSampler
    from work import mlp_networks

    model = beside_pythae.model_of(*mlp_networks(0), (784,)).eval()
    sampler = NormalSampler(model)
    sampler.sample(1000, batch_size=500)
    return timed(lambda: sampler.sample(count, batch_size=500))[0]


def sample_plain(count: int) -> dict[str, float]:
    import torch
    from work import LATENT, PIXELS, mlp_networks

    _, decoder = mlp_networks(0)
    out = torch.empty(count, PIXELS)

    def all_images(out: torch.Tensor) -> None:
        for piece in out.split(2048):
            torch.sigmoid(decoder(torch.randn(len(piece), LATENT)), out=piece)

    with torch.inference_mode():
        all_images(torch.empty(2048, PIXELS))
        return timed(lambda: all_images(out))[0]


def sample_vael(count: int) -> dict[str, float]:
    from work import vael_mlp

    from vael.applications import generate

    model = vael_mlp(start=0)
    generate(model, 4096, seed=1)
    return timed(lambda: generate(model, count, seed=0))[0]


def sample_products(count: int) -> dict[str, float]:
    found = evidence_products(-(-count // DRAWS))
    return {name: value * count / (-(-count // DRAWS) * DRAWS) for name, value in found.items()}


EVIDENCE = Piece(
    name="evidence",
    title="log p(x) of 50 images, 1000 draws each",
    work="log p(x) of MNIST test images cut at one half, K = 1000 draws of q(z|x), MLP 784-400-20 with random weights, "
    "the same in every row; the last column is the mean log p(x), which differs by the noise of the draws.",
    rows=(
        Row("pythae", evidence_pythae, "Pythae's `get_nll`, its batch of 100", ("torch", "pythae")),
        Row("plain", evidence_plain, "by hand: encoded once, 1000 draws in one product, cross entropy with logits"),
        Row("vael", evidence_vael, "`vael.evidence.Importance`, which also gives each value's error"),
        Row("products", evidence_products, "the decoder's two matrix products alone"),
    ),
    count=50,
    scale=50,
    unit="s for 50",
    beside=("pythae", "plain", "products"),
    losses="log p(x), nats",
)
ENCODE = Piece(
    name="encode",
    title="Encoding 60,000 images",
    work="Posterior mean and deviation of 60,000 grey images by an MLP 784-400-20; Pythae's `embed` gives a draw of z.",
    rows=(
        Row("pythae", encode_pythae, "Pythae's `embed`, which also decodes and scores", ("torch", "pythae")),
        Row("plain", encode_plain, "by hand: pieces of 4096 bytes to floats, two layers"),
        Row("vael", encode_vael, "`vael.applications.encode`, results in float64"),
        Row("products", encode_products, "the encoder's two matrix products alone"),
    ),
    count=60_000,
    scale=60_000,
    unit="s for 60,000",
    beside=("pythae", "plain", "products"),
)
SAMPLE = Piece(
    name="sample",
    title="Sampling 100,000 images",
    work="100,000 grey images from the prior through a decoder 20-400-784.",
    rows=(
        Row("pythae", sample_pythae, "Pythae's `NormalSampler`, its batch of 500", ("torch", "pythae")),
        Row("plain", sample_plain, "by hand: pieces of 2048 written into one tensor"),
        Row("vael", sample_vael, "`vael.applications.generate`, reproducible by seed"),
        Row("products", sample_products, "the decoder's two matrix products alone"),
    ),
    count=100_000,
    scale=100_000,
    unit="s for 100,000",
    beside=("pythae", "plain", "products"),
)
