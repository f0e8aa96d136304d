"""Networks that a method trains beside the students, such as a discriminator: each with its own
loss and optimiser.

The method builds them in its constructor, names them in `own_networks()` and, in a step, returns
one loss for each in `StepResult.own_losses`, computed on detached predictions. The trainer moves
them to the device, lets each minimise its loss once the students have taken their step, and keeps
them in the checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rml_trainers.runtime.distributed import average_buffers, average_gradients
from rml_trainers.students.named_tensors import under


class OwnNetwork:
    """One network and the optimiser that trains it, its moments included in the checkpoint.

    Args:
        module: seed torch before it is built (`randomness.seed_model_noise`), as for a student.
        make_optimiser: from the parameters. It must keep its state on the device, or a step would
            wait for it: Adam only with `fused=True`.
        poly_power: of the polynomial decay of the learning rate over a stage, as for the students.
    """

    def __init__(
        self,
        module: nn.Module,
        make_optimiser: Callable[[Iterator[nn.Parameter]], Optimizer],
        poly_power: float = 0.9,
    ) -> None:
        self.module = module
        self._optimiser = make_optimiser(module.parameters())
        self._initial_lr = [float(group["lr"]) for group in self._optimiser.param_groups]
        self._poly_power = poly_power

    def to(self, device: torch.device) -> None:
        """Before the first step; the optimiser keeps hold of the parameters."""
        self.module.to(device)

    @contextmanager
    def fixed(self) -> Iterator[nn.Module]:
        """The module for the students' loss: gradients pass through it, and none are computed for
        its parameters."""
        trainable = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        for parameter in trainable:
            parameter.requires_grad_(False)
        try:
            yield self.module
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)

    def minimise(self, loss: Tensor, progress: float) -> None:
        """Backward and update; `progress` is the fraction of the stage done, in [0, 1).

        Workers average their gradients and statistics, so that all hold the same network. `losses`
        and `mean_over_workers` make the mean of the workers' losses the loss of the whole batch.
        """
        for group, lr in zip(self._optimiser.param_groups, self._initial_lr, strict=True):
            group["lr"] = lr * (1 - progress) ** self._poly_power
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.module.parameters())
        self._optimiser.step()
        average_buffers(self.module)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and the optimiser's state."""
        kept = {f"module/{name}": tensor for name, tensor in self.module.state_dict().items()}
        for i, slot in self._optimiser.state_dict()["state"].items():
            kept |= {
                f"optimiser/{i}/{name}": value
                for name, value in slot.items()
                if isinstance(value, Tensor)
            }
        return kept

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.module.load_state_dict(under(tensors, "module/"))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under(tensors, "optimiser/").items():
            number, key = name.split("/")
            slots.setdefault(int(number), {})[key] = tensor.clone()
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": slots})


class OwnNetworks:
    """All networks of a method's own, by name, as the trainer handles them; for most methods there
    are none."""

    def __init__(self, networks: Mapping[str, OwnNetwork], device: torch.device) -> None:
        self._networks = networks
        for network in networks.values():
            network.to(device)

    def __getitem__(self, name: str) -> OwnNetwork:
        return self._networks[name]

    def minimise(self, losses: Mapping[str, Tensor], progress: float) -> None:
        """One step of each network that has a loss, in the order of the losses."""
        for name, loss in losses.items():
            self._networks[name].minimise(loss, progress)

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": tensor
            for name, network in self._networks.items()
            for key, tensor in network.tensors().items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave; a network of which there is nothing stays as it was
        built."""
        for name, network in self._networks.items():
            if own := under(tensors, f"{name}/"):
                network.load_tensors(own)
