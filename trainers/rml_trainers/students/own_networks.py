"""Networks that a method trains beside the students, such as a discriminator: each with its own
loss and optimiser.

The method builds them in its constructor, names them in `own_networks()` and, in a step, returns
one loss for each in `StepResult.own_losses`, computed on detached predictions. The trainer moves
them to the device, lets each minimise its loss once the students have taken their step, and keeps
them in the checkpoint.

A head that learns from the students' own loss has no loss beside it: the step names it in
`StepResult.taught`, and the trainer takes the gradients that the students' loss has left in it.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rml_trainers.runtime.distributed import average_buffers, average_gradients
from rml_trainers.settings.optimisation import OptimiserConfig, TeacherConfig
from rml_trainers.students.ema import MeanTeacherUpdate
from rml_trainers.students.fused_optimiser import fused_optimiser
from rml_trainers.students.named_tensors import under


class OwnNetwork:
    """One network and the optimiser that trains it, its moments included in the checkpoint. They go
    on from stage to stage, as the network does; only the learning rate begins anew.

    Args:
        module: seed torch before it is built (`randomness.seed_model_noise`), as for a student.
        make_optimiser: from the parameters. It must keep its state on the device, or a step would
            wait for it: Adam only with `fused=True`.
        poly_power: of the polynomial decay of the learning rate over a stage, as for the students.
        teacher: keep a mean teacher of the network, which moves as those of the students do.
    """

    teacher: nn.Module | None = None
    _move_teacher: MeanTeacherUpdate | None = None

    def __init__(
        self,
        module: nn.Module,
        make_optimiser: Callable[[Iterator[nn.Parameter]], Optimizer],
        poly_power: float = 0.9,
        teacher: TeacherConfig | None = None,
    ) -> None:
        self.module = module
        self._optimiser = make_optimiser(module.parameters())
        self._initial_lr = [float(group["lr"]) for group in self._optimiser.param_groups]
        self._poly_power = poly_power
        self._teacher_config = teacher
        if teacher is not None:
            self.teacher = copy.deepcopy(module).requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Before the first step; the optimiser keeps hold of the parameters."""
        self.module.to(device)
        if self.teacher is not None and self._teacher_config is not None:
            self.teacher.to(device)
            self._move_teacher = MeanTeacherUpdate(
                self.module,
                self.teacher,
                self._teacher_config.ema_decay,
                warm_up=self._teacher_config.ema_warm_up,
            )

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
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(progress)

    def take_gradients(self, progress: float, step: int) -> None:
        """Update from the gradients that the students' loss has brought, forget them, and move the
        mean teacher.

        Args:
            progress: as for `minimise`.
            step: of the run, from 0.
        """
        self._update(progress)
        self._optimiser.zero_grad(set_to_none=True)
        if self._move_teacher is not None:
            self._move_teacher(step)

    def _update(self, progress: float) -> None:
        for group, lr in zip(self._optimiser.param_groups, self._initial_lr, strict=True):
            group["lr"] = lr * (1 - progress) ** self._poly_power
        average_gradients(self.module.parameters())
        self._optimiser.step()
        average_buffers(self.module)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, buffers, those of the mean teacher, and the optimiser's state."""
        kept = {f"module/{name}": tensor for name, tensor in self.module.state_dict().items()}
        if self.teacher is not None:
            kept |= {f"teacher/{name}": x for name, x in self.teacher.state_dict().items()}
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
        if self.teacher is not None:
            self.teacher.load_state_dict(under(tensors, "teacher/"))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under(tensors, "optimiser/").items():
            number, key = name.split("/")
            slots.setdefault(int(number), {})[key] = tensor.clone()
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": slots})


def as_a_head(config: OptimiserConfig) -> Callable[[Iterator[nn.Parameter]], Optimizer]:
    """The run's optimiser at the rate of a student's head."""
    lr = config.lr * config.head_lr_factor
    return lambda parameters: fused_optimiser([{"params": list(parameters), "lr": lr}], config)


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

    def take_gradients(self, names: Iterable[str], progress: float, step: int) -> None:
        """One step of each network named, from what the students' loss has left in it."""
        for name in names:
            self._networks[name].take_gradients(progress, step)

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
