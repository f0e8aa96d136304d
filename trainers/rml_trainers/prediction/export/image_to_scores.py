"""What is exported: a network with everything around it that an image needs."""

import json
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rml_trainers.networks.network import SegmentationNetwork

Output = Literal["logits", "probabilities"]
OUTPUTS: tuple[Output, ...] = ("logits", "probabilities")


class ImageToScores(nn.Module):
    """uint8 images [B, 3, H, W], RGB → float32 scores [B, K, H, W].

    Normalisation and upsampling are inside. Several networks are an ensemble: the mean of their
    probabilities, whose logits are its logarithm.
    """

    def __init__(self, networks: Sequence[SegmentationNetwork], output: Output) -> None:
        """Networks in plain torch and with weights of their own; they are changed to evaluation
        mode in main memory."""
        super().__init__()
        assert networks, "at least one network"
        self.networks = nn.ModuleList(networks)
        self.output = output
        self.eval().requires_grad_(False).cpu().to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.to(torch.float32) / 255.0
        size_px = (images.shape[-2], images.shape[-1])
        logits = [self._logits(network, pixels, size_px) for network in self.networks]
        if len(logits) == 1:
            return logits[0] if self.output == "logits" else logits[0].softmax(dim=1)
        # In logarithms, so that a class that all networks exclude does not become minus infinity.
        mean = torch.stack([one.log_softmax(dim=1) for one in logits]).logsumexp(dim=0)
        return mean.log_softmax(dim=1) if self.output == "logits" else mean.softmax(dim=1)

    def _logits(self, network: nn.Module, pixels: Tensor, size_px: tuple[int, int]) -> Tensor:
        assert isinstance(network, SegmentationNetwork)
        return network.upsample(network(pixels).logits, size_px)

    @property
    def input_px(self) -> tuple[int, int] | None:
        """Height and width of the only images that the networks take; None where they take any."""
        sizes = [
            network.input_px
            for network in self.networks
            if isinstance(network, SegmentationNetwork) and network.input_px is not None
        ]
        return sizes[0] if sizes else None

    def normalisation(self) -> dict[str, str]:
        """Metadata with mean and standard deviation of the colours in [0, 1], one pair per network;
        the file has them inside."""
        statistics = [
            {
                "mean": network.mean.flatten().tolist(),
                "std": network.std.flatten().tolist(),
            }
            for network in self.networks
            if isinstance(network, SegmentationNetwork)
        ]
        return {"rml.normalisation": json.dumps(statistics)}

    def interface(self, fixed_px: tuple[int, int] | None) -> dict[str, str]:
        """Metadata that say what goes in and what comes out of a file that takes this size."""
        size = list(fixed_px) if fixed_px is not None else ["height", "width"]
        return {
            "rml.input": json.dumps(
                {
                    "name": "images",
                    "type": "uint8",
                    "shape": ["batch", 3, *size],
                    "colours": "RGB, 0 to 255",
                    "normalisation": "inside",
                }
            ),
            "rml.output": json.dumps(
                {
                    "name": self.output,
                    "type": "float32",
                    "shape": ["batch", "classes", *size],
                    "upsampling": "inside",
                }
            ),
        }
