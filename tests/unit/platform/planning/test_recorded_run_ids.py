"""Run ids of many configurations, as they were recorded: code may be rebuilt, a run keeps its id.

A configuration goes the whole way here, from YAML to the hash. Where an id changes on purpose (the
result of a run changes: `RESULT_VERSION` rises, or `identity.mended` names the few that it is
about), `python -m tests.unit.platform.planning.test_recorded_run_ids` prints the new ones.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rml_platform.planning.run_id import run_id
from rml_platform.run.task import config_from_json, config_to_json
from rml_platform.study.schema import load_run_config
from rml_trainers import RESULT_VERSION, methods, networks
from rml_trainers.config import RunConfig

SCENES = "data: {name: scenes}\nsplit: {num_labelled: 8}\n"
SMALL = (
    "data: {name: scenes, size_px: [64, 96], num_train: 40, num_val: 10, seed: 2}\n"
    "split: {fraction: 0.25, family: dmt, seed: 1, pool_includes_labelled: true}\n"
    "network: {backbone: resnet18, weights: none, aspp_branches: 2, batchnorm: frozen}\n"
    "geometry: {crop_px: [48, 64], scale: [0.5, 1.5]}\nbatch: {labelled: 2, accumulate: 2}\n"
    "optimiser: {lr: 1.0e-3, gradient_clip: 5.0}\nteacher: {ema_decay: 0.99, mode: train}\n"
    "schedule: {warm_up_steps: 10, stage_steps: [20, 20, 20, 20, 20], students_restart: true}\n"
    "evaluation: {networks: [student_1, ensemble], every_steps: 5, monitor_pseudo_labels: true}\n"
    "noise: {cutmix: false, dropout: 0.1}\nunsupervised_weight: 0.5\nseed: 3\n"
)
METHODS = {
    "supervised": "{}",
    "pseudo_label": "{threshold: 0.9}",
    "mean_teacher": "{soft_labels: true}",
    "mutual_direct": "{}",
    "iml": "{own_teacher: false}",
    "rml": "{temperature: 0.1, distance: relative, initial_label_bits: 8, mixture: estimated}",
    "cutmix_seg": "{box_area: [0.3, 0.5]}",
    "cowmix": "{sigma: [0.1, 0.2]}",
    "classmix": "{photometric: none}",
    "ict": "{alpha: 0.5, ramp_up_steps: 5}",
    "cps": "{weight: 6.0, on_labelled: true}",
    "dmt": "{gamma_agree: 5.0}",
    "unimatch": "{threshold: 0.0, channel_dropout: 0.3}",
    "unimatch_v2": "{threshold: 0.9, plain_fraction: 0.25}",
    "augseg": "{threshold: null, max_operations: 2}",
    "u2pl": "{mixing: cutout, low_rank: 2, negatives: paper}",
    "corrmatch": "{initial_threshold: 0.0, num_segments: 64}",
    "adv_ssl": "{semi_start: 50, adversarial_weight: 0.1}",
    "s4gan": "{self_training_threshold: 0.7, discriminator_lr: 1.0e-5}",
    "meta_pseudo_label": "{uda_weight: 1.0, uda_ramp_steps: 50}",
    "ecs": "{correction_start: 5, corrector_lr: 1.0e-4}",
}
DATA = {
    "camvid": "{name: camvid, folder: other}",
    "cityscapes": "{name: cityscapes, label_reduction: majority}",
    "voc": "{name: voc, train_set: train, size_px: [321, 321]}",
    "folder": "{name: folder, folder: own, class_names: [a, b], size_px: null}",
    "mnist": "{name: mnist}",
}
MLP = "method: {name: rml, min_cells: 1}\nnetwork: {name: mlp}\ngeometry: {crop_px: [28, 28]}\n"
V3_PLUS = "{name: deeplab_v3_plus, backbone: resnet50, output_stride: 8, weights: none}"
DPT = "{name: dpt, backbone: vit_small_patch14_dinov2, weights: none}"
SETR = "{name: setr, backbone: vit_base_patch14_dinov2, decoder: naive, weights: none}"

RUNS = {
    **{f"{name}, defaults": f"{SCENES}method: {{name: {name}}}\n" for name in METHODS},
    **{
        f"{name}, set": f"{SMALL}method: {{name: {name}, {settings.removeprefix('{')}\n"
        for name, settings in METHODS.items()
    },
    **{
        name: f"data: {data}\nsplit: {{num_labelled: 100, seed: 23456}}\n"
        + (MLP if name == "mnist" else "method: {name: iml}\n")
        for name, data in DATA.items()
    },
    "setr": f"{SCENES}method: {{name: rml}}\nnetwork: {SETR}\n",
    **{
        f"{name}, defaults": f"{SCENES}method: {{name: rml}}\nnetwork: {{name: {name}}}\n"
        for name in ("deeplab_v3_plus", "dpt", "segformer_head")
    },
    "deeplab_v3_plus, set": f"{SCENES}method: {{name: cps}}\nnetwork: {V3_PLUS}\n",
    "dpt and deeplab_v3_plus": f"{SCENES}method: {{name: iml}}\nnetwork: {DPT}\n"
    f"peer_network: {V3_PLUS}\n",
    "segformer_head, set": f"{SCENES}method: {{name: unimatch_v2}}\n"
    "network: {name: segformer_head, backbone: convnext_tiny, decoder_width: 256}\n",
    "pair": f"{SCENES}method: {{name: iml}}\npeer_network: {SETR}\nsync_batchnorm: true\n",
    "projected": f"{SCENES}method: {{name: rml, feature: projected}}\n"
    "network: {name: deeplab_v2, output_stride: 16, projection_width: 64}\nprecision: bfloat16\n",
}
RUNS["dmt, defaults"] += "schedule: {stage_steps: [10, 10, 10, 10, 10]}\n"
RECORDED = {
    "supervised, defaults": "scenes-8-supervised-s0-02f2857b",
    "pseudo_label, defaults": "scenes-8-pseudo_label-s0-d0f3e04c",
    "mean_teacher, defaults": "scenes-8-mean_teacher-s0-0b4b4064",
    "mutual_direct, defaults": "scenes-8-mutual_direct-s0-ebc90ee0",
    "iml, defaults": "scenes-8-iml-s0-fb084900",
    "rml, defaults": "scenes-8-rml-s0-64e37944",
    "cutmix_seg, defaults": "scenes-8-cutmix_seg-s0-d3b58c3d",
    "cowmix, defaults": "scenes-8-cowmix-s0-d149c8e2",
    "classmix, defaults": "scenes-8-classmix-s0-087a436c",
    "ict, defaults": "scenes-8-ict-s0-034fe57d",
    "cps, defaults": "scenes-8-cps-s0-ad2fca94",
    "dmt, defaults": "scenes-8-dmt-s0-1a16dc76",
    "unimatch, defaults": "scenes-8-unimatch-s0-269e5c25",
    "unimatch_v2, defaults": "scenes-8-unimatch_v2-s0-af305d31",
    "augseg, defaults": "scenes-8-augseg-s0-f17454cb",
    "u2pl, defaults": "scenes-8-u2pl-s0-1ba57cc0",
    "corrmatch, defaults": "scenes-8-corrmatch-s0-a0afe0c5",
    "adv_ssl, defaults": "scenes-8-adv_ssl-s0-faf8cf0a",
    "s4gan, defaults": "scenes-8-s4gan-s0-4840d299",
    "meta_pseudo_label, defaults": "scenes-8-meta_pseudo_label-s0-e56917ef",
    "ecs, defaults": "scenes-8-ecs-s0-34a107c5",
    "supervised, set": "scenes-8-supervised-s3-b501ca33",
    "pseudo_label, set": "scenes-8-pseudo_label-s3-0bc462f1",
    "mean_teacher, set": "scenes-8-mean_teacher-s3-d421611a",
    "mutual_direct, set": "scenes-8-mutual_direct-s3-291d5359",
    "iml, set": "scenes-8-iml-s3-ab871f74",
    "rml, set": "scenes-8-rml-s3-e9fa84cd",
    "cutmix_seg, set": "scenes-8-cutmix_seg-s3-b874e539",
    "cowmix, set": "scenes-8-cowmix-s3-e374ea77",
    "classmix, set": "scenes-8-classmix-s3-1a2714a1",
    "ict, set": "scenes-8-ict-s3-fd426676",
    "cps, set": "scenes-8-cps-s3-d4a6a2bc",
    "dmt, set": "scenes-8-dmt-s3-44d7f20b",
    "unimatch, set": "scenes-8-unimatch-s3-7b8e846f",
    "unimatch_v2, set": "scenes-8-unimatch_v2-s3-3282f81f",
    "augseg, set": "scenes-8-augseg-s3-e56d1a28",
    "u2pl, set": "scenes-8-u2pl-s3-426079d3",
    "corrmatch, set": "scenes-8-corrmatch-s3-b5164555",
    "adv_ssl, set": "scenes-8-adv_ssl-s3-18961332",
    "s4gan, set": "scenes-8-s4gan-s3-df614666",
    "meta_pseudo_label, set": "scenes-8-meta_pseudo_label-s3-e90f1776",
    "ecs, set": "scenes-8-ecs-s3-d9f85a3d",
    "camvid": "camvid-8-iml-s0-b413c218",
    "cityscapes": "cityscapes-8-iml-s0-8b4d1d3c",
    "voc": "voc-8-iml-s0-e1e8a468",
    "folder": "folder-8-iml-s0-2e122ce7",
    "mnist": "mnist-8-rml-s0-d1fce866",
    "setr": "scenes-8-rml-s0-ffdf0962",
    "deeplab_v3_plus, defaults": "scenes-8-rml-s0-8ada0833",
    "dpt, defaults": "scenes-8-rml-s0-896a2293",
    "segformer_head, defaults": "scenes-8-rml-s0-d6c51fa4",
    "deeplab_v3_plus, set": "scenes-8-cps-s0-04fbc105",
    "dpt and deeplab_v3_plus": "scenes-8-iml-s0-684cc238",
    "segformer_head, set": "scenes-8-unimatch_v2-s0-f177ec4d",
    "pair": "scenes-8-iml-s0-af688b6e",
    "projected": "scenes-8-rml-s0-cc4775a2",
}


def id_of(config: RunConfig) -> str:
    return run_id(config, split_hash="a" * 12, data_hash="b" * 12, num_labelled=8)


def config_of(name: str, folder: Path) -> RunConfig:
    file = folder / "run.yaml"
    file.write_text(RUNS[name])
    return load_run_config(file)


def test_every_method_and_network_has_a_recorded_id(tmp_path: Path) -> None:
    assert set(METHODS) == set(methods.METHODS)
    recorded = {name for run in RUNS for name in network_names(config_of(run, tmp_path))}
    assert recorded == set(networks.NETWORKS)


def network_names(config: RunConfig) -> list[str]:
    return [network.name for network in config.student_networks]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_keeps_its_id(name: str, tmp_path: Path) -> None:
    assert id_of(config_of(name, tmp_path)) == RECORDED[name], (
        f"of RESULT_VERSION {RESULT_VERSION}; where that has risen, record the new ids"
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_same_after_the_way_to_a_worker(name: str, tmp_path: Path) -> None:
    config = config_of(name, tmp_path)
    there = config_from_json(config_to_json(config), "a run")
    assert there == config
    assert id_of(there) == RECORDED[name]


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        for run in RUNS:
            print(f'    "{run}": "{id_of(config_of(run, Path(scratch)))}",')
