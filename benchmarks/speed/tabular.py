"""Training on a small table, where everything is overhead: 16 columns, 32 hidden units, 4 latents, batch 256."""

from typing import Any

from harness import Piece, Row, Watch, seed

ROWS, COLUMNS, HIDDEN, LATENT, BATCH = 100_000, 16, 32, 4, 256
STEPS, WARM = 1170, 100
FLOOR, QUICKER = 1e-3, 10.0  # of vael's Gaussian: scale = floor + exp(10 θ)


def rows(count: int = ROWS) -> Any:
    """`(count, 16)` float32: four hidden numbers, mixed, and noise of 0.3; standardised."""
    import torch

    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(LATENT, COLUMNS, generator=generator)
    x = torch.randn(count, LATENT, generator=generator) @ mixing
    x += 0.3 * torch.randn(count, COLUMNS, generator=generator)
    return (x - x.mean(0)) / x.std(0)


class Plain:
    """The VAE in plain formulas: two networks, a learned scale for each column."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        torch.manual_seed(seed())
        self.encoder = nn.Sequential(nn.Linear(COLUMNS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, COLUMNS))
        self.slow_scale = nn.Parameter(torch.zeros(COLUMNS))
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters(), self.slow_scale]

    def loss(self, x: Any, eps: Any) -> Any:
        """−ELBO of a batch, nats per example."""
        import torch

        loc, log_scale = self.encoder(x).chunk(2, -1)
        z = torch.addcmul(loc, log_scale.exp(), eps)
        scale = FLOOR + (QUICKER * self.slow_scale).exp()
        score = 0.5 * ((x - self.decoder(z)) / scale).square() + scale.log() + 0.918938533204672742
        rate = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale)
        return (score.sum() + rate.sum()) / len(x)


def plain(count: int) -> dict[str, float]:
    import torch
    from work import batches, clock

    model, data = Plain(), rows()
    optimizer = torch.optim.Adam(model.parameters, lr=1e-3, fused=True)
    x, eps, total = torch.empty(BATCH, COLUMNS), torch.empty(BATCH, LATENT), torch.zeros(())
    order = iter(batches(ROWS, BATCH, count + WARM))

    def step() -> None:
        torch.index_select(data, 0, next(order), out=x)
        loss = model.loss(x, eps.normal_())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total.add_(loss.detach())

    found = clock(step, count, reset=total.zero_, warm=WARM)
    return {**found, "loss": float(total) / count}


def vael(count: int, **settings: object) -> dict[str, float]:
    from work import vael_epoch, vael_split

    return vael_epoch(vael_model(), vael_split(rows()), count, batch=BATCH, warm=WARM, **settings)


def vael_model(columns: int = COLUMNS, hidden: int = HIDDEN, latent: int = LATENT) -> Any:
    """vael's VAE of a table: Gaussian columns of learned scales."""
    import torch

    from vael import VAE
    from vael.likelihoods import Gaussian
    from vael.networks import MLP
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior

    torch.manual_seed(seed())
    encoder, decoder = MLP(columns, [hidden], 2 * latent), MLP(latent, [hidden], columns)
    return VAE(GaussianPrior(latent), Gaussian(decoder), GaussianPosterior(encoder))


def lightning(count: int) -> dict[str, float]:
    import logging
    import warnings

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # advice on worker processes
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    model, data = Plain(), rows()

    class Module(LightningModule):
        total = torch.zeros(())

        def __init__(self) -> None:
            super().__init__()
            self.networks = nn.ModuleList([model.encoder, model.decoder])
            self.scale = model.slow_scale

        def training_step(self, batch: Any, place: int) -> Any:
            if self.global_step == WARM:
                self.watch, self.total = Watch(), torch.zeros(())
            (x,) = batch
            loss = model.loss(x, torch.randn(len(x), LATENT))
            self.total = self.total + loss.detach()
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

        def on_train_end(self) -> None:
            self.found = self.watch.read()

    module = Module()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet["enable_model_summary"] = False
    loader = DataLoader(TensorDataset(data), batch_size=BATCH, shuffle=True, drop_last=True)
    Trainer(accelerator="cpu", devices=1, max_steps=count + WARM, max_epochs=-1, **quiet).fit(module, loader)
    return {**module.found, "loss": float(module.total) / count}


TABLE = Piece(
    name="table",
    title="Training on a small table",
    work="A VAE of 100,000 rows × 16 columns, 32 hidden units, 4 latents, Gaussian columns of learned scales, Adam at "
    "1e-3, batch 256: 3 epochs after 100 steps. A step is 1.9 MFLOP, some 20 µs: all the rest is overhead.",
    rows=(
        Row(
            "plain", plain, "the formulas written out in torch: resident data, one head, fused Adam, nothing read back"
        ),
        Row("vael", vael, "the loop of `vael fit`, between its evaluations"),
        Row("vael-compile", lambda count: vael(count, compile=True), "with `--compile`"),
        Row(
            "lightning",
            lightning,
            "the same formulas under Lightning's Trainer, nothing logged",
            ("torch", "lightning"),
        ),
    ),
    count=STEPS,
    scale=1e6,
    unit="µs a step",
    beside=("plain", "lightning"),
    losses="loss, nats",
)
