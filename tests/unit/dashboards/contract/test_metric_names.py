"""What people read instead of a metric's key."""

import pytest

from rml_dashboards.contract.metric_names import axis_label, metric_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("final/miou", "mIoU"),
        ("val/miou", "mIoU"),
        ("val/student_2/miou", "mIoU of student 2"),
        ("final/iou/road", "IoU of road"),
        ("holdout/miou", "mIoU on held-out images"),
        ("holdout/teacher_1/accuracy", "pixel accuracy of teacher 1, on held-out images"),
        ("train/loss", "training loss"),
        ("train/loss_supervised_1", "loss (supervised 1)"),
        ("train/pseudo_label_1_miou", "mIoU of pseudo labels 1"),
        ("train/pseudo_label_1_unrectified_miou", "mIoU of pseudo labels 1 before rectification"),
        ("train/pseudo_label_1_iou/night sky", "IoU of night sky, of pseudo labels 1"),
        (
            "train/pseudo_label_2_unrectified_iou/a/b",
            "IoU of a/b, of pseudo labels 2 before rectification",
        ),
        ("train/coupling_tv_train_set_students", "total variation distance of students"),
        ("train/coupling_tv", "total variation distance"),
        ("train/my_own_scalar", "my own scalar"),
        ("final/my_metric", "my metric"),
    ],
)
def test_names(key: str, name: str) -> None:
    assert metric_name(key) == name


@pytest.mark.parametrize(
    ("keys", "scale", "label"),
    [
        (["final/miou"], 100, "mIoU (%)"),
        (["final/miou"], 1, "mIoU"),
        (["final/seconds"], 1, "wall time (s)"),
        (["final/my_metric"], 100, "my metric × 100"),
        (["train/pseudo_label_1_miou", "train/pseudo_label_1_unrectified_miou"], 100, "mIoU (%)"),
        (["val/miou", "train/loss"], 100, "mIoU (%)\ntraining loss × 100"),
    ],
)
def test_an_axis_says_quantity_and_unit(keys: list[str], scale: float, label: str) -> None:
    assert axis_label(keys, scale) == label
