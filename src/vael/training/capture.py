"""A step recorded once and replayed: the same kernels without modules, autograd and dispatch between them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

Gradients = Callable[..., Sequence[Tensor | None]]  # (*parameters, *inputs) → a gradient for each parameter

ATEN: Any = torch.ops.aten
PASSED_ON = (ATEN.detach.default, ATEN.alias.default)  # where no gradient is recorded, they change nothing
MADE = (ATEN.ones_like.default, ATEN.zeros_like.default, ATEN.full_like.default)  # of their argument's shape alone
SAME_CALL = (  # operations whose name in torch, or of a tensor, takes the same arguments
    "abs add add_ addcmul addmm bmm cat clamp clamp_min div exp exp_ expand log log1p log_ logsumexp mean mm mul mul_",
    "neg neg_ pow relu select sigmoid sqrt squeeze stack sub sub_ sum t tanh transpose unsqueeze view where",
)
PLAIN = frozenset(" ".join(SAME_CALL).split())
MOST_FOLDED = 2**16  # numbers of a constant that is kept


def traced(function: Gradients, *inputs: Tensor) -> GraphModule:
    """`function` as a flat list of tensor operations, forward and backward, for inputs of these shapes.

    Whatever it decides in Python is decided once and for all. What no input has a part in is computed here.
    Raises what torch raises where a value is asked for.
    """
    graph = make_fx(function)(*inputs)
    values: dict[Node, Tensor] = {}
    written = {source for node in graph.graph.nodes if writes(node) for source in sources(node)}
    for node in list(graph.graph.nodes):
        twice = node.target is ATEN.t.default and getattr(node.args[0], "target", None) is ATEN.t.default
        if node.target in PASSED_ON or twice:
            node.replace_all_uses_with(node.args[0].args[0] if twice else node.args[0])
            graph.graph.erase_node(node)
        elif node not in written and is_constant(node, values):
            values[node] = computed(node, values)
    for number, (node, value) in enumerate(values.items()):
        if any(user not in values for user in node.users) and value.numel() <= MOST_FOLDED:
            graph.register_buffer(f"constant_{number}", value, persistent=False)
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(graph.graph.get_attr(f"constant_{number}"))
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def is_constant(node: Node, known: Mapping[Node, Tensor]) -> bool:
    """Whether a node computes one and the same tensor at every call, from no tensor or from such tensors alone."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload) or writes(node):
        return False
    drawn = torch.Tag.nondeterministic_seeded in node.target.tags
    one = len(node.target._schema.returns) == 1 and str(node.target._schema.returns[0].type) == "Tensor"
    return one and not drawn and (node.target in MADE or all(source in known for source in node.all_input_nodes))


def computed(node: Node, known: Mapping[Node, Tensor]) -> Tensor:
    """What a constant node computes."""

    def held(source: Node) -> Tensor:
        if source in known:
            return known[source]
        form = source.meta["val"]
        return torch.empty_strided(form.shape, form.stride(), dtype=form.dtype, device=form.device)

    function: Any = node.target
    value: Tensor = function(*map_arg(node.args, held), **map_arg(node.kwargs, held))
    return value


def writes(node: Node) -> bool:
    """Whether a node writes into its first argument."""
    return node.op == "call_function" and isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def sources(node: Node) -> Iterator[Node]:
    """The first argument of a node, what that is perhaps a part of, and so on."""
    while node.all_input_nodes:
        node = node.all_input_nodes[0]
        yield node


def quick(graph: GraphModule) -> Gradients:
    """The traced function, its common operations called by torch's own names, at half the cost of a registered one."""
    for node in graph.graph.nodes:
        if isinstance(node.target, OpOverload):
            name = node.target._schema.name.removeprefix("aten::")
            if name in PLAIN:
                node.target = getattr(torch, name, None) or getattr(Tensor, name)
    graph.recompile()
    function: Gradients = graph.forward
    return function


def compiled(graph: GraphModule) -> Gradients:
    """The traced function with its element-wise operations fused by torch's compiler, at its first call."""
    function: Gradients = torch.compile(graph, dynamic=False)
    return function


@contextlib.contextmanager
def unmoved(buffers: Iterable[Tensor]) -> Iterator[None]:
    """Put buffers back to what they were: a step that is only tried leaves no trace in running means."""
    before = [(buffer, buffer.clone()) for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def foreign(module: nn.Module) -> list[str]:
    """What inside is not vael's, torch.nn's or zuko's, by name: what it decides in Python is unknown.

    Looked at are modules, what is hooked to them, and the objective of a `Bound`.
    """
    ours = ("vael.", "torch.nn.", "zuko.")
    kinds = [type(part) for part in (*module.modules(), *aims(getattr(module, "objective", None)))]
    hooked = [hook for part in module.modules() for hook in hooks(part)]
    kinds += [hook if hasattr(hook, "__qualname__") else type(hook) for hook in hooked]
    strange = [one for one in kinds if not (one.__module__ or "").startswith(ours)]
    return sorted({getattr(one, "__name__", "hook") for one in strange})


def aims(objective: object) -> list[object]:
    """An objective and those inside it."""
    inner = [value for value in getattr(objective, "__dict__", {}).values() if callable(value)]
    return [] if objective is None else [objective, *(aim for value in inner for aim in aims(value))]


def hooks(part: nn.Module) -> list[Any]:
    """What runs before and after a module's forward pass."""
    return [*part._forward_pre_hooks.values(), *part._forward_hooks.values()]


class CUDAGraph:
    """A step on a CUDA device as one graph: inputs are copied into fixed places, then all its kernels are replayed.

    step: Called with the fixed inputs; reads nothing back. inputs: Of the shapes and types of every later step.
    """

    def __init__(self, step: Callable[[Sequence[Tensor]], None], inputs: Sequence[Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in inputs]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            step(self.inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self.inputs, list(inputs), non_blocking=True)
        self.graph.replay()
