"""Costs and signals of every layer in a training step: MACs, memory for the backward pass, activations, gradients."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
RELU = {aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_}


@dataclass
class Layer:
    """One module in a training step; numbers of its children are theirs alone.

    Attributes: `parameters` and `trained` are counts; `macs` are multiply-accumulate operations of the forward pass
    over the whole batch; `memory` is in bytes, of tensors that the backward pass needs, weights excluded; `shape` is
    that of the last output. `elements`, `total` and `squares` sum the outputs with gradients, `zeros` their exact
    zeros, `slope` the squared gradients of the loss by them. `alive` holds a flag per ReLU channel that was above zero
    somewhere in the batch.
    """

    name: str
    kind: str
    parameters: int = 0
    trained: int = 0
    macs: int = 0
    memory: int = 0
    calls: int = 0
    shape: tuple[int, ...] = ()
    elements: int = 0
    total: float = 0.0
    squares: float = 0.0
    slope: float | None = None
    weight_norm: float = 0.0
    weight_gradient: float | None = None
    alive: dict[int, Tensor] = field(default_factory=dict)

    def count(self, macs: int = 0, memory: int = 0) -> None:
        """Add MACs and bytes."""
        self.macs += macs
        self.memory += memory

    def begin(self) -> None:
        """Count a call."""
        self.calls += 1

    def see(self, output: Tensor, leaf: bool) -> None:
        """Take the shape of an output; of a `leaf`, a layer without children, also its values and gradients."""
        self.shape = tuple(output.shape)
        if not leaf or not output.requires_grad:
            return
        values = output.detach().double()
        self.elements += values.numel()
        self.total += values.sum().item()
        self.squares += values.square().sum().item()
        output.register_hook(self._take)

    def _take(self, gradient: Tensor) -> None:
        self.slope = (self.slope or 0.0) + gradient.double().square().sum().item()

    def see_relu(self, output: Tensor) -> None:
        """Note the channels that are above zero, of maps (B, C, h, w), clips, or (..., C)."""
        places = [d for d in range(output.ndim) if d != (1 if output.ndim > 3 else output.ndim - 1)]
        flags = (output > 0).sum(places) > 0
        self.alive[len(flags)] = flags | self.alive.get(len(flags), flags)

    def see_weights(self, own: list[nn.Parameter]) -> None:
        """Take the norms of weights and their gradients."""
        gradients = [p.grad for p in own if p.grad is not None]
        self.weight_norm = _norm(own)
        self.weight_gradient = _norm(gradients) if gradients else None

    @property
    def mean(self) -> float | None:
        """Mean of the outputs."""
        return self.total / self.elements if self.elements else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the outputs over samples, channels and places."""
        return (
            max(self.squares / self.elements - (self.total / self.elements) ** 2, 0.0) ** 0.5 if self.elements else None
        )

    @property
    def gradient(self) -> float | None:
        """Norm of the gradient of the loss by the outputs of the whole batch."""
        return None if self.slope is None else self.slope**0.5

    @property
    def relus(self) -> int:
        """Channels of its ReLUs."""
        return sum(len(flags) for flags in self.alive.values())

    @property
    def dead(self) -> int:
        """Channels of its ReLUs that are zero everywhere in the batch."""
        return sum(int((~flags).sum()) for flags in self.alive.values())


class Watch(TorchDispatchMode):
    """Context manager that measures every module of a network while losses are computed in it.

    Leave it, call `backward` on the loss, then read `layers` after `measure_gradients`. MACs are counted as by torch's
    FlopCounterMode, at two FLOPs each. Attention is computed by its plain formula, which is counted exactly.

    Attributes: `layers` by name, in the order of their first call; modules without a call follow, if they have
    parameters of their own. The empty name is what happens outside of all modules.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.stack, self.layers = network, [""], {"": Layer("", "outside of layers")}
        self.context = ExitStack()
        self.names = {id(module): name for name, module in network.named_modules() if name}
        tensors = [*network.parameters(), *network.buffers()]
        self.weights = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self.saved: set[int] = set()
        self.counted: set[int] = set()  # parameters; shared ones count where they are met first

    def __enter__(self) -> "Watch":
        self.context.enter_context(sdpa_kernel(SDPBackend.MATH))
        self.context.enter_context(saved_tensors_hooks(self._save, lambda tensor: tensor))
        for module in self.network.modules():
            if id(module) in self.names:
                for hook in (
                    module.register_forward_pre_hook(self._begin),
                    module.register_forward_hook(self._end, always_call=True),
                ):
                    self.context.callback(hook.remove)
        return super().__enter__()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        super().__exit__(exc_type, exc_val, exc_tb)
        self.context.close()
        for name, module in self.network.named_modules():
            if name and any(True for _ in module.parameters(recurse=False)):
                self._layer(module)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        out, packet = func(*args, **(kwargs or {})), func._overloadpacket
        layer = self.layers[self.stack[-1]]
        if packet in flop_registry:
            layer.count(macs=flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2)
        if packet in RELU and torch.is_grad_enabled() and (len(args) < 2 or args[1] == 0) and out.ndim > 1:
            layer.see_relu(out)
        return out

    def measure_gradients(self) -> None:
        """Take the norms of weights and their gradients, after `backward`."""
        for name, module in self.network.named_modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            if name in self.layers and own:
                self.layers[name].see_weights(own)

    def _layer(self, module: nn.Module) -> Layer:
        name = self.names[id(module)]
        if name not in self.layers:
            own = [p for p in module.parameters(recurse=False) if id(p) not in self.counted]
            self.counted |= set(map(id, own))
            trained = sum(p.numel() for p in own if p.requires_grad)
            self.layers[name] = Layer(name, type(module).__name__, sum(p.numel() for p in own), trained)
        return self.layers[name]

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        self._layer(module).begin()
        self.stack.append(self.names[id(module)])

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()
        if (out := next(_tensors(output), None)) is not None:
            self._layer(module).see(out, leaf=not any(True for _ in module.children()))

    def _save(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.saved | self.weights:
            self.saved.add(storage.data_ptr())
            self.layers[self.stack[-1]].count(memory=storage.nbytes())
        return tensor


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors of floats in an output, nested ones included."""
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _norm(tensors: Sequence[Tensor]) -> float:
    return sum(t.detach().double().square().sum().item() for t in tensors) ** 0.5
