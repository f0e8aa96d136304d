"""Three linear layers that see a whole image and give one cell: the network of the paper's MNIST
figure (Fig. 2)."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import CheckedRun, NetworkConfig

MNIST_MEAN = 0.1307
MNIST_STD = 0.3081
"""Mean and standard deviation of the pixels of MNIST's 60000 training images in [0, 1] (PyTorch's
MNIST example; computed again from the files: 0.1307 and 0.3081)."""


@configuration
class MlpConfig(NetworkConfig):
    """Network of one student for images of one size (paper, 4.1: "3 layers of MLPs")."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[int, int] = (256, 256)
    """Widths of the two hidden layers; not stated in the paper."""
    input_px: tuple[int, int] = (28, 28)
    """Height and width of every image: of the data set as prepared, and of the training crops."""

    def __post_init__(self) -> None:
        require(min(self.hidden) >= 1, "hidden", self.hidden, "two widths of at least 1")
        require(
            min(self.input_px) >= 1,
            "input_px",
            self.input_px,
            "a height and width of at least 1 pixel",
        )

    def check(self, run: CheckedRun) -> None:
        """It reads whole images of one size and gives one cell."""
        wanted = f"the input of the network mlp, {self.input_px}"
        crop_px = run.geometry.crop_px
        require(crop_px == self.input_px, "geometry.crop_px", crop_px, wanted)
        require(run.data.size_px == self.input_px, "data.size_px", run.data.size_px, wanted)
        cells = run.method.min_cells
        one = "1, because an image has one cell in the network mlp"
        require(cells == 1, "method.min_cells", cells, one)


class MLP(SegmentationNetwork):
    """Grey image → linear → ReLU → linear → ReLU → dropout → linear: logits [B, K, 1, 1].

    The feature is the second hidden layer. Dropout stands in front of the last classifier only, as
    in the paper's networks for segmentation (5.2); there are no residual blocks that stochastic
    depth could drop.
    """

    def __init__(self, config: MlpConfig, num_classes: int, dropout: float) -> None:
        super().__init__(
            mean=(MNIST_MEAN,),
            std=(MNIST_STD,),
            feature_width=config.hidden[1],
            projection_width=None,
            align_corners=True,
            batchnorm="trainable",
        )
        first, second = config.hidden
        height, width = config.input_px
        self._input_px = config.input_px
        self.backbone = nn.Sequential(
            nn.Flatten(),
            nn.Linear(height * width, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(second, num_classes)

    def forward(self, images: Tensor) -> SegmentationOutput:
        # Mean over the colours, as a product because they lie side by side in memory.
        grey = images.permute(0, 2, 3, 1) @ images.new_full((3,), 1 / 3)
        return self.classify(self.backbone(self.normalise(grey.unsqueeze(1)))[..., None, None])

    def classify(self, feature: Tensor) -> SegmentationOutput:
        logits = self.classifier(self.dropout(feature.flatten(1)))
        return SegmentationOutput(logits[..., None, None], feature, None)

    def upsample(self, maps: Tensor, size_px: tuple[int, int]) -> Tensor:
        """The one cell at every pixel: a view of [B, C, 1, 1] as [B, C, H, W], float32."""
        return maps.float().expand(-1, -1, *size_px)

    @property
    def input_px(self) -> tuple[int, int]:
        return self._input_px

    def head_modules(self) -> Sequence[nn.Module]:
        return [self.classifier]


def build_mlp(
    config: MlpConfig, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> MLP:
    """Build with PyTorch's initialisation, as there are no pretrained weights.

    Dropout only where `noise.model` is on; `noise.drop_path` has no effect.
    """
    return MLP(config, num_classes, noise.dropout if noise.model else 0.0)
