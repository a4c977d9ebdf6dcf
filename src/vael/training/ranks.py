"""Several processes that train one model: who they are, what they say to each other, whose gradient they follow.

torchrun's environment is the contract: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. A step's batch and noise
are those of one process, and each rank takes its own examples of them; so one process and many give the same numbers,
to the rounding of a sum.
"""

import contextlib
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from vael.errors import Interrupted, RecipeError, VaelError
from vael.evaluation import Bounds
from vael.training.capture import unmoved
from vael.training.settings import Training

if TYPE_CHECKING:
    from vael.training.engine import Bound, Look

CONTRACT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TERMS = ("elbo", "rate", "distortion")
ANSWER_EVERY = 0.05  # seconds
HEARD_WITHIN = 1.0  # seconds that a request to stop may wait to be heard by all


@dataclass(frozen=True)
class Ranks:
    """This process among `world` alike: number `rank`, from 0. device: Where messages between them are.

    Whatever is asked of one must be asked of all, in one order: each answer waits for everybody.
    """

    rank: int = 0
    world: int = 1
    device: torch.device | str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's places among `count` in a row: neighbours, and as many as any other rank's or one fewer."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def largest(self, *numbers: float) -> list[float]:
        """The largest on any rank of each number."""
        return self._reduced(numbers, distributed.ReduceOp.MAX)

    def sums(self, *numbers: float) -> list[float]:
        """The sum over all ranks of each number, in float64: the same bits everywhere."""
        return self._reduced(numbers, distributed.ReduceOp.SUM)

    def _reduced(self, numbers: Sequence[float], how: Any) -> list[float]:
        if self.world == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(found, how)
        values: list[float] = found.tolist()
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so on at least one rank."""
        return self.largest(float(flag))[0] > 0

    def first_said(self, text: str | None) -> str | None:
        """What the lowest rank that has something to say says, its first hundred bytes; None where none has."""
        if self.world == 1:
            return text
        speaker = -self.largest(-float(self.rank) if text else -math.inf)[0]
        if speaker == math.inf:
            return None
        own = (text or "").encode()[:100].ljust(100) if self.rank == speaker else bytes(100)
        return bytes(map(int, self.sums(*own))).decode(errors="replace").rstrip()

    def average(self, tensor: Tensor) -> None:
        """Replace `tensor` by its mean over all ranks."""
        if self.world > 1:
            distributed.all_reduce(tensor)
            tensor /= self.world

    def as_first(self, tensors: Iterable[Tensor]) -> None:
        """Give `tensors` the values that they have on rank 0."""
        if self.world > 1:
            for tensor in tensors:
                sent = tensor.detach().contiguous()  # what lies otherwise, as channels last, cannot be sent
                distributed.broadcast(sent, 0)
                tensor.detach().copy_(sent)

    def means(self, part: Bounds | None) -> dict[str, float | None]:
        """Mean elbo, rate and distortion of all examples; `part`: of this rank's, None where it has none."""
        if self.world == 1 and part is not None:
            return part.means
        own = [float(getattr(part, name).sum()) if part else 0.0 for name in TERMS]
        *totals, count = self.sums(*own, float(len(part.rate)) if part else 0.0)
        return {name: total / count for name, total in zip(TERMS, totals, strict=True)}

    def by_first(self, act: Callable[[], None]) -> None:
        """Let rank 0 `act`, and wait for it. Raises there what it raised, and elsewhere that it did."""
        failure: VaelError | None = None
        try:
            if self.first:
                act()
        except VaelError as error:
            failure = error
        if self.any(failure is not None):
            raise failure or Interrupted("rank 0 could not go on; it says why.")

    def agree(self, mark: str, about: str) -> None:
        """Raise RecipeError unless `mark`, a hexadecimal number, is one and the same on all ranks."""
        parts = [float(int(mark[place : place + 8], 16)) for place in range(0, 32, 8)]
        if self.largest(*parts) != [-low for low in self.largest(*(-part for part in parts))]:
            raise RecipeError(
                f"ranks: do not agree on {about}. Give every process the same command, the same data and "
                f"the same version of vael."
            )


ALONE = Ranks()


def launched() -> bool:
    """Whether torchrun, or what does the same, started this process."""
    return all(name in os.environ for name in CONTRACT)


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return not launched() or os.environ["RANK"] == "0"


def restarted() -> bool:
    """Whether the elastic agent started it again after a rank was lost."""
    return launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def own_device(device: str) -> str:
    """The graphics card of this rank, where `device` asks for one."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks of torchrun's environment, joined while the block lasts; a world of one where there is none.

    device: Where this rank computes, see `own_device`; messages go by NCCL between graphics cards, else by Gloo.
    Raises Interrupted when another rank is lost.
    """
    world = int(os.environ["WORLD_SIZE"]) if launched() else 1
    if world == 1:
        yield ALONE
        return
    on_card = torch.device(device).type == "cuda"
    if on_card:
        torch.cuda.set_device(device)
    ours = not distributed.is_initialized()
    try:
        if ours:
            _join("nccl" if on_card else "gloo")
        yield Ranks(distributed.get_rank(), world, device if on_card else "cpu")
    except RuntimeError as error:
        if isinstance(error, VaelError) or not of_a_lost_rank(error):
            raise
        raise Interrupted(
            f"another rank was lost ({str(error).splitlines()[0]}).\n"
            f"  Give the same command again, or let torchrun do so with --max-restarts."
        ) from error
    finally:
        if ours and distributed.is_initialized():
            distributed.destroy_process_group()


def _join(backend: str) -> None:
    store, rank, world = next(rendezvous("env://"))
    mine = PrefixStore(met(store, rank, world), store)
    distributed.init_process_group(backend, store=mine, rank=rank, world_size=world)


def met(store: Store, rank: int, world: int) -> str:
    """A name that these processes have in common, and that none before them had.

    The elastic agent hands the store on to the processes it restarts, with the addresses of the dead in it; and how
    often it restarted is not the same number on all machines. So rank 0 answers each rank's own name with its own.
    """
    own = secrets.token_hex(8)
    if rank:
        store.set(f"vael/rank {rank}", own)
        name = str(store.get(f"vael/answer to {own}").decode())
        store.set(f"vael/{name}/rank {rank}", "here")
        return name
    missing = set(range(1, world))
    while missing:
        for other in sorted(missing):
            if store.check([f"vael/{own}/rank {other}"]):
                missing.remove(other)
            elif store.check([f"vael/rank {other}"]):
                store.set(f"vael/answer to {store.get(f'vael/rank {other}').decode()}", own)
        time.sleep(ANSWER_EVERY)
    return own


def of_a_lost_rank(error: RuntimeError) -> bool:
    """Whether torch says that a peer does not answer any more."""
    words = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in words for word in ("connection", "gloo", "nccl"))


class Nowhere:
    """What a rank other than 0 keeps of a run: nothing."""

    def keep_line(self, line: dict[str, Any]) -> None:
        pass

    def keep_checkpoint(self, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
        pass

    def keep_best(self, weights: dict[str, Tensor]) -> None:
        pass


class Halt:
    """Asked after every step: whether all shall stop now, because one was told to.

    Alone it is heard at once. Ranks speak of it about once a second, by the clock of the slowest, so that all stop
    after the same step.
    """

    def __init__(self, ranks: Ranks, stop: threading.Event) -> None:
        self.ranks, self.stop = ranks, stop
        self.pause, self.steps, self.asked = 1, 0, time.perf_counter()

    def __call__(self) -> bool:
        if self.ranks.world == 1:
            return self.stop.is_set()
        self.steps += 1
        if self.steps < self.pause:
            return False
        now = time.perf_counter()
        stopped, seconds = self.ranks.largest(float(self.stop.is_set()), now - self.asked)
        # From what all know alike, so that the next time to ask is one and the same.
        self.pause = max(1, min(2 * self.pause, int(self.steps * HEARD_WITHIN / max(seconds, 1e-6))))
        self.steps, self.asked = 0, now
        return stopped > 0


class Averaged:
    """Gradients of a bound of which every rank has a copy, averaged over all by `DistributedDataParallel`.

    bound: Alike on all ranks. parameters: Those to learn.
    look: One that a step may see; a step is tried with it, since torch orders its messages anew after the first, and
        a run that goes on from a checkpoint must add in the order of one that was not stopped.
    """

    def __init__(self, bound: "Bound", parameters: Mapping[str, Tensor], look: "Look") -> None:
        with unmoved(bound.buffers()):
            loss = -bound(look.batch, look.noise).mean()
            slopes = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        self.unused = {name for name, slope in zip(parameters, slopes, strict=True) if slope is None}
        self.parameters = dict(parameters)
        self.bound = DistributedDataParallel(
            bound, forward_sync_buffers=False, gradient_as_bucket_view=True, static_graph=bool(self.unused)
        )
        with unmoved(bound.buffers()):
            self(look, precision="float32")

    def __call__(self, look: "Look", *, precision: str) -> list[Tensor | None]:
        """The gradient by each parameter of minus the mean bound over all ranks' examples, None where unused."""
        device = next(iter(self.parameters.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = -self.bound(look.batch, look.noise).mean()
        loss.backward()
        found = [None if name in self.unused else p.grad for name, p in self.parameters.items()]
        for parameter in self.parameters.values():
            parameter.grad = None
        return found


def check_dealt(objective: object, model: nn.Module, training: Training, examples: int, ranks: Ranks) -> None:
    """Raise RecipeError where a batch cannot be dealt out to the ranks, or a share of it would say something else.

    examples: Those to learn from; a batch holds no more.
    """
    if ranks.world == 1:
        return
    if training.by == "em":
        raise RecipeError("training by em: looks at all examples in every step. Fit by one process.")
    if not getattr(getattr(model, "posterior", None), "has_density", True):
        raise RecipeError("ranks: a model without a bound is judged by whole batches. Fit by one process.")
    batch = min(training.batch, examples)
    if batch % ranks.world:
        near = max(ranks.world, batch - batch % ranks.world)
        raise RecipeError(
            f"ranks: a batch of {batch} examples cannot be dealt out evenly to {ranks.world} processes.\n"
            f"  Use --batch {near} or {near + ranks.world}."
        )
    who = joins_examples(objective, model)
    if who:
        raise RecipeError(
            f"ranks: {who} takes a mean over the batch, of which each of {ranks.world} processes sees a part only.\n"
            f"  Fit by one process, or choose another."
        )


def joins_examples(objective: object, model: nn.Module) -> str | None:
    """What makes an example's value depend on the others of its batch, by name; None if nothing does."""
    while objective is not None:
        if getattr(objective, "joins_examples", False):
            return type(objective).__name__
        objective = getattr(objective, "of", None)
    for module in model.modules():
        if getattr(module, "joins_examples", False) or isinstance(module, _BatchNorm):
            return type(module).__name__
    return None
