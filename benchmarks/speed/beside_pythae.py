"""Pythae with the networks of the other rows: same widths, same weights, its own trainer."""

import tempfile
from copy import deepcopy

import torch
from harness import Watch, seed
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn


class Encoder(BaseEncoder):
    """Loc and log variance as two heads, as Pythae's own encoders have them."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        *body, head = network
        self.body = nn.Sequential(*body)
        self.latent_dim = head.out_features // 2
        self.loc, self.log_var = (nn.Linear(head.in_features, self.latent_dim) for _ in range(2))
        with torch.no_grad():
            self.loc.weight.copy_(head.weight[: self.latent_dim])
            self.loc.bias.copy_(head.bias[: self.latent_dim])
            self.log_var.weight.copy_(2 * head.weight[self.latent_dim :])
            self.log_var.bias.copy_(2 * head.bias[self.latent_dim :])

    def forward(self, x: Tensor) -> ModelOutput:
        features = self.body(x)
        return ModelOutput(embedding=self.loc(features), log_covariance=self.log_var(features))


class Decoder(BaseDecoder):
    """Probabilities, as Pythae's cross entropy takes them."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def model_of(encoder: nn.Sequential, decoder: nn.Sequential, shape: tuple[int, ...]) -> VAE:
    """Pythae's VAE with Bernoulli cross entropy."""
    own = Encoder(deepcopy(encoder))
    config = VAEConfig(input_dim=shape, latent_dim=own.latent_dim, reconstruction_loss="bce")
    return VAE(config, encoder=own, decoder=Decoder(deepcopy(decoder)))


def epoch(model: VAE, x: Tensor, *, batch: int, warm: int, cuda: bool = False) -> dict[str, float]:
    """Seconds and mean loss of one pass of Pythae's trainer over x, after `warm` steps."""
    labels = torch.ones(len(x))
    data = BaseDataset(x, labels)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1,
            per_device_train_batch_size=batch,
            learning_rate=1e-3,
            seed=seed(),
            no_cuda=not cuda,
        )
        trainer = BaseTrainer(model, data, training_config=config)
        trainer.prepare_training()
        handler = trainer.callback_handler
        handler.on_train_begin(training_config=config, model_config=model.model_config)
        whole = trainer.train_loader
        few = warm * batch
        trainer.train_loader = trainer.get_train_dataloader(BaseDataset(x[:few], labels[:few]))
        trainer.train_step(1)
        trainer.train_loader = whole
        watch = Watch()
        loss = float(trainer.train_step(1))
        return {**watch.read(), "loss": loss}
