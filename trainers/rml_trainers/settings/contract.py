"""What every method, network and data set says about itself: all that the engine may ask of them.

A setting that a class does not have is answered here, once, by its base; nobody asks for an
attribute that may be missing. What is a `ClassVar` here is the same in all runs of a method. What
is a property may become a setting: a class that lets the user choose gives a field of that name.

`check` refuses a run that does not fit. It sees the run as a `CheckedRun`, because the class of a
whole run (`config.RunConfig`) is made of these and cannot be known here.
"""

from dataclasses import Field
from typing import Any, ClassVar, Literal, Protocol, Self

from rml_trainers.configuration import require
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.noise.strong_view import StrongView, paper_recipe
from rml_trainers.settings.batch import BatchConfig
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.settings.optimisation import LabelledLossConfig, ScheduleConfig

Labeller = Literal["students", "teachers"]
"""Which networks label: the students themselves, or their mean teachers."""


class _Dataclass:
    """Every class of settings is a dataclass (see `configuration`), its base is not."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class DataConfig(_Dataclass):
    """Base of the settings of a data set."""

    name: str
    """Its key in `DATASETS`; a `Literal` in every class."""
    size_px: tuple[int, int] | None
    """Height and width that every image is resized to when prepared; None: every image keeps its
    own."""

    def check(self, run: "CheckedRun") -> None:
        """Raise a ValueError (see `require`) where a run does not fit this data set."""


class NetworkConfig(_Dataclass):
    """Base of the settings of a student's network."""

    name: str
    """Its key in `NETWORKS`; a `Literal` in every class."""

    @property
    def weights_file(self) -> str | None:
        """File of pretrained weights that has to be there before the network is built."""
        return None

    @property
    def hub_model(self) -> str | None:
        """Model whose pretrained weights come from timm's hub or its cache, unless a package has
        them; None where none do."""
        return None

    @property
    def projection_width(self) -> int | None:
        """Channels of the projection head; None where there is none."""
        return None

    @property
    def dilations_px(self) -> tuple[int, ...]:
        """Distances in pixels at which the head's dilated convolutions look beside them; empty
        where there are none. What lies further than a training crop is long is never learnt."""
        return ()

    @property
    def averages_whole_maps(self) -> bool:
        """Whether a BatchNorm layer sees one value per image and channel, however large the
        image."""
        return False

    def without_weights_file(self) -> Self:
        """The same network that names no file, for those who cannot open it."""
        assert self.weights_file is None, f"{type(self).__name__} says how to leave it out"
        return self

    def check(self, run: "CheckedRun") -> None:
        """Raise a ValueError (see `require`) where a run does not fit this network."""


class MethodConfig(_Dataclass):
    """Base of the settings of a method."""

    name: str
    """Its key in `METHODS`; a `Literal` in every class."""
    num_students: ClassVar[int]
    uses_unlabelled: ClassVar[bool] = True
    """False: every stage is the supervised warm-up."""
    labeller: ClassVar[Labeller] = "teachers"
    """Whose outputs the pseudo labels are made of."""
    labels_whole_images: ClassVar[bool] = False
    """Whether training images go through the networks whole when a stage begins."""
    num_strong_views: ClassVar[int] = 1
    """Strong views of every unlabelled image that a student learns from in one step."""
    own_labelled_loss: ClassVar[bool] = False
    """Whether the method has a loss on labels of its own, which `labelled_loss` cannot change."""
    students_apart: ClassVar[bool] = False
    """Whether students learn one after the other within a step, each from a loss of its own."""
    shared_views: ClassVar[bool] = False
    """Whether all students see the same labelled crops and the same strong views."""

    @property
    def weight(self) -> float:
        """Weight of L_u by the method's authors, next to the run's own `unsupervised_weight`."""
        return 1.0

    @property
    def soft_labels(self) -> bool:
        """Whether probabilities teach instead of their most likely class."""
        return False

    @property
    def threshold(self) -> float | None:
        """τ of a label: a pixel with max p ≤ τ has none. None: every pixel has one."""
        return None

    @property
    def confidence(self) -> float | None:
        """τ of a batch: L_u is multiplied by the fraction of pixels with max p ≥ τ. None: it is
        not."""
        return None

    @property
    def class_threshold(self) -> float | None:
        """τ of thresholds of each class, where the method has them; None: it has none."""
        return None

    @property
    def disagreement_weight(self) -> float:
        """Factor of the loss of a pixel to which two labelling networks give different classes."""
        return 1.0

    @property
    def own_teacher(self) -> bool:
        """Whether a student's own mean teacher teaches it, where mean teachers label."""
        return True

    @property
    def initial_label(self) -> Literal["stage", "online"]:
        """`stage`: soft labels made at the start of a stage are stored and read with every
        crop."""
        return "online"

    @property
    def initial_label_bits(self) -> Literal[8, 16]:
        """Size of a stored probability: half precision, or 8 bits."""
        return 16

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fraction of each class's pixels that keep their stored label, stage by stage. Empty: all
        keep it."""
        return ()

    @property
    def feature(self) -> Literal["backbone", "projected"]:
        """Which map of a network the method compares with prototypes."""
        return "backbone"

    @property
    def min_cells(self) -> int:
        """Fewest cells of a class that an image has to show before the method uses them."""
        return 1

    @property
    def padding_counted_once(self) -> bool:
        """Whether padding of crops had a part in what the method computes before it was left out:
        runs whose crops may overhang their images have other ids since."""
        return False

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """How a weak view is made strong where `noise.input` is on (paper, 5.2: RandAugment and
        CutMix)."""
        return paper_recipe(noise)

    def check(self, run: "CheckedRun") -> None:
        """Raise a ValueError (see `require`) where a run does not fit this method."""
        if self.feature == "projected":
            widths = [network.projection_width for network in run.student_networks]
            wanted = "a network with projection_width for every student"
            require(None not in widths, "method.feature", "projected", wanted)
        plain = run.labelled_loss.is_plain or not self.own_labelled_loss
        require(plain, "labelled_loss", run.labelled_loss, f"its default for {self.name}")
        if self.fractions:
            steps = run.schedule.stage_steps
            num_phases = len(self.fractions)
            one_each = f"{num_phases} stages, one for each of method.fractions"
            require(len(steps) == num_phases, "schedule.stage_steps", steps, one_each)


class CheckedRun(Protocol):
    """The run that a method, network or data set is checked against."""

    @property
    def data(self) -> DataConfig: ...

    @property
    def method(self) -> MethodConfig: ...

    @property
    def student_networks(self) -> tuple[NetworkConfig, ...]:
        """Network of each student, in order."""
        ...

    @property
    def geometry(self) -> GeometryConfig: ...

    @property
    def noise(self) -> NoiseConfig: ...

    @property
    def batch(self) -> BatchConfig: ...

    @property
    def labelled_loss(self) -> LabelledLossConfig: ...

    @property
    def schedule(self) -> ScheduleConfig: ...

    @property
    def evaluation(self) -> EvaluationConfig: ...
