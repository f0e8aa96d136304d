"""What the machine at hand can give to a run."""

from dataclasses import dataclass

from rml_trainers.runtime.cores import usable_cores


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs that this process may use."""

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> "Machine":
        import torch  # only torch knows the GPUs; reading a plan has no need of it

        return cls(cores=usable_cores(), gpus=torch.cuda.device_count())
