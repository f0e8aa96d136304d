"""How an image of any size goes through a network: what a person can ask for, apart from how the
network was trained."""

from dataclasses import dataclass

from rml_trainers.config import RunConfig
from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import ConfigError

MAX_SCALE = 16.0
"""Anything larger is a slip of the finger, and would not fit into any memory."""
SMALLEST_PX = 32
"""Shortest side of a window or of an image's new size."""


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """Sizes are (height, width) in pixels."""

    resize_px: SizePx | None
    """Size that every image is given first; None: its own. Results are at its own size anyway."""
    window_px: SizePx | None
    """Size of the windows that an image is predicted in, each alone; None: in one piece. A side
    that is longer than the image's is cut to it."""
    stride_px: SizePx | None
    """From window to window, down and across; given exactly where windows are."""
    scales: tuple[float, ...] = (1.0,)
    """The network sees each piece at each of these shares of its size; probabilities are
    averaged."""
    flip: bool = False
    """Average over the mirrored piece too."""
    batch: int | None = None
    """Pieces that go through the network at once, at most; None: as many as `batch_pixels`
    allow."""
    batch_pixels: int = 2**20
    """Pixels that go through the network at once; a larger piece goes through alone."""

    def __post_init__(self) -> None:
        for name, size in (("resize", self.resize_px), ("window", self.window_px)):
            if size is not None and min(size) < SMALLEST_PX:
                raise ConfigError(
                    f"{name} {shown(size)}: expected at least {SMALLEST_PX} pixels each way"
                )
        self._check_stride()
        for scale in self.scales:
            if not 0 < scale <= MAX_SCALE:
                raise ConfigError(f"scale {scale:g}: expected more than 0 and at most {MAX_SCALE}")
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise ConfigError(f"scales {self.scales}: expected at least one, and none twice")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch {self.batch}: expected at least 1")

    def _check_stride(self) -> None:
        stride = self.stride_px
        window = self.window_px
        if stride is None or window is None:
            if stride is not None:
                raise ConfigError(f"stride {shown(stride)}: there are no windows; give a window")
            assert window is None, "windows come with their stride"
            return
        if min(stride) < 1 or stride[0] > window[0] or stride[1] > window[1]:
            raise ConfigError(
                f"stride {shown(stride)}: expected at least 1 pixel and at most the window, "
                f"{shown(window)}, or pixels between two windows would have no class"
            )

    def pieces_at_once(self, own_px: SizePx) -> int:
        """Images of a size (or windows of one) that go through the network at once."""
        if self.batch is not None:
            return self.batch
        piece = self.resize_px or own_px
        if self.window_px is not None:
            piece = (min(self.window_px[0], piece[0]), min(self.window_px[1], piece[1]))
        pixels = piece[0] * piece[1] * max(self.scales) ** 2
        return max(1, int(self.batch_pixels / pixels))

    def check_network(self, input_px: SizePx | None) -> None:
        """Raise ConfigError where a network that takes images of one size only would see
        another."""
        if input_px is None:
            return
        sizes = {self.window_px or self.resize_px}
        if sizes != {input_px} or self.scales != (1.0,):
            raise ConfigError(
                f"this run's network takes images of {shown(input_px)} pixels only: resize to "
                f"{shown(input_px)} or take windows of that size, at scale 1"
            )


def settings_of_run(
    config: RunConfig,
    *,
    resize_px: SizePx | None,
    window_px: SizePx | None,
    stride_px: SizePx | None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    batch: int | None = None,
) -> PredictionSettings:
    """Settings in which a run says what nobody asked for.

    Args:
        stride_px: None: the run's share of the window (`evaluation.window_stride`).
        batch: None: as much as the run was scored with (`evaluation.batch`), counted in pixels, so
            that larger pieces go through in smaller numbers.
    Raises:
        ConfigError: a value that cannot be; names it and what is expected.
    """
    if window_px is not None and stride_px is None:
        share = config.evaluation.window_stride
        stride_px = (max(1, round(share * window_px[0])), max(1, round(share * window_px[1])))
    scored_px = config.evaluation.inference_px or config.data.size_px or config.geometry.crop_px
    return PredictionSettings(
        resize_px=resize_px,
        window_px=window_px,
        stride_px=stride_px,
        scales=scales,
        flip=flip,
        batch=batch,
        batch_pixels=config.evaluation.batch * scored_px[0] * scored_px[1],
    )


def window_of_run(config: RunConfig) -> SizePx | None:
    """Window that the run was scored in; None where it saw images in one piece."""
    evaluation = config.evaluation
    return evaluation.inference_px if evaluation.inference == "sliding" else None


def shown(size_px: SizePx) -> str:
    """Height and width as a person writes them."""
    return f"{size_px[0]}x{size_px[1]}"
