"""Switches and sizes of geometry, input noise and model noise."""

from rml_trainers.configuration import configuration, require


@configuration
class GeometryConfig:
    """Random scale, crop and flip shared by the weak view γ and the strong view Γ, so that pixels
    correspond."""

    crop_px: tuple[int, int] = (256, 512)
    """Height and width of a training crop (paper, 5.2: Cityscapes 512×256, VOC 321×321)."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest random scale (VOC: 0.5 to 1.5)."""
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        require(
            min(self.crop_px) >= 8, "crop_px", self.crop_px, "height and width of at least 8 pixels"
        )
        require(0 < self.scale[0] <= self.scale[1], "scale", self.scale, "0 < smallest <= largest")
        require(
            0 <= self.flip_probability <= 1,
            "flip_probability",
            self.flip_probability,
            "a number in [0, 1]",
        )


@configuration
class NoiseConfig:
    """Paper, 4.1 and Table 4: `input` and `model` are the rows of the ablation."""

    input: bool = True
    """Photometric RandAugment and CutMix on the strong view Γ; for the published comparators, what
    their own configurations say in place of `rand_augment_*` and `cutmix*`."""
    model: bool = True
    """Dropout before the classifier and stochastic depth."""
    rand_augment_ops: int = 2
    """Operations per image (RandAugment's N); not stated in the paper, ProDA uses 2."""
    rand_augment_magnitude: float = 30.0
    """Largest strength on RandAugment's scale of 30; each operation draws uniformly below it
    (ProDA's code counts to 10 and uses 10, which is 30 here)."""
    rand_augment_probability: float = 0.5
    """Chance that each operation is applied at all (ProDA: 0.5)."""
    cutmix: bool = True
    cutmix_area: tuple[float, float] = (0.25, 0.5)
    """Smallest and largest share of the image that the pasted box covers; not stated in the
    paper."""
    cutmix_aspect: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest height-to-width ratio of the box, relative to the crop's; not stated in
    the paper."""
    dropout: float = 0.5
    """In front of the last classifier only (paper, 5.2)."""
    drop_path: float = 0.2
    """Stochastic depth: 1 - survival at the last block, linear over depth (paper, 5.2: survival
    0.8)."""

    def __post_init__(self) -> None:
        require(
            self.rand_augment_ops >= 0, "rand_augment_ops", self.rand_augment_ops, "zero or more"
        )
        in_scale = 0 <= self.rand_augment_magnitude <= 30
        require(
            in_scale, "rand_augment_magnitude", self.rand_augment_magnitude, "a number in [0, 30]"
        )
        p = self.rand_augment_probability
        require(0 <= p <= 1, "rand_augment_probability", p, "a number in [0, 1]")
        require(
            0 < self.cutmix_area[0] <= self.cutmix_area[1] < 1,
            "cutmix_area",
            self.cutmix_area,
            "shares in (0, 1)",
        )
        require(
            0 < self.cutmix_aspect[0] <= self.cutmix_aspect[1],
            "cutmix_aspect",
            self.cutmix_aspect,
            "positive",
        )
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1)")
        require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "a number in [0, 1)")
