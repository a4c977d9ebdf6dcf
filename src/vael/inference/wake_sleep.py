"""The wake-sleep algorithm: the decoder learns from the encoder's guesses, the encoder from the decoder's dreams."""

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.inference.trainers import Trainer, needs_encoder, parameters_of
from vael.models.vae import VAE
from vael.noise import Noise, stream


class WakeSleep(Trainer):
    """One `advance` is one update of both halves, each by an objective of its own.

        wake:   decoder and prior maximise log p(x, z),  x from the data, z ~ q(z|x)
        sleep:  the encoder maximises log q(z|x),        z ~ p(z), x ~ p(x|z)

    The two together maximise no bound: the sleep phase minimises KL(p(z|x)‖q(z|x)), the other way round than the ELBO,
    and over dreams in place of data. Arguments as for `Trainer`.

    Source: Hinton, Dayan, Frey & Neal 1995; the comparison of Kingma & Welling 2013, figure 2.
    """

    def learned(self) -> list[Tensor]:
        needs_encoder("WakeSleep", self.model)
        return parameters_of(self.model.prior, self.model.likelihood, self.model.posterior)

    def advance(self) -> float:
        """Mean log p(x, z) of the wake phase, nats per example."""
        batch = self.look()
        noise = self.model.noise(1, len(batch), seed=self.seed, step=self.step)
        dreams = self.model.noise(1, len(batch), seed=self.seed + 1, step=self.step)
        awake = wake(self.model, batch, noise)
        self.move(awake + asleep(self.model, dreams, seed=self.seed, step=self.step))
        self.step += 1
        return float(awake.detach())


def wake(model: VAE, batch: Batch, noise: Noise) -> Tensor:
    """Mean log p(x, z) over K draws z ~ q(z|x) that carry no gradient, nats per example."""
    with torch.no_grad():
        z = model.posterior(batch.x, batch.given, batch.observed).from_noise(noise.latents[0])
    return model.log_joint(batch, z).mean()


def asleep(model: VAE, noise: Noise, *, seed: int, step: int) -> Tensor:
    """Mean log q(z|x) over dreams z ~ p(z), x ~ p(x|z) that carry no gradient, nats per example."""
    with torch.no_grad():
        z = model.prior().from_noise(noise.latents[0][0])
        x = model.likelihood.draw(model.likelihood(z), stream(seed, step, purpose="dream", device=z.device))
    log_q: Tensor = model.posterior(x).log_prob(z.unsqueeze(0))
    return log_q.mean()
