"""Configurations of one run: what is accepted, and that every error says where, what and how to
mend it."""

from pathlib import Path

import pytest

from rml_platform.study.schema import load_run_config
from rml_trainers.errors import ConfigError
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.setr import SetrConfig

RUN = """\
data: {name: scenes, size_px: [32, 48]}
split: {fraction: 0.5}
method:
  name: rml
  temperature: 0.5
optimiser:
  lr: 1e-2
schedule: {warm_up_steps: 4, stage_steps: [4]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run_config(path, overrides)
    return str(caught.value)


def test_values_arrive_typed(tmp_path: Path) -> None:
    config = load_run_config(write(tmp_path, RUN))
    assert config.method == RmlConfig(temperature=0.5)
    assert (config.optimiser.lr, config.schedule.stage_steps, config.data.size_px) == (
        0.01,
        (4,),
        (32, 48),
    )


def test_dotted_keys_equal_nested_ones(tmp_path: Path) -> None:
    nested = load_run_config(write(tmp_path, RUN))
    dotted = RUN.replace("optimiser:\n  lr: 1e-2", "optimiser.lr: 0.01")
    assert load_run_config(write(tmp_path, dotted)) == nested


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", "100e-6"])
def test_every_spelling_of_a_number_is_a_number(tmp_path: Path, text: str) -> None:
    assert load_run_config(write(tmp_path, RUN), [f"optimiser.lr={text}"]).optimiser.lr == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "place", "parts"),
    [
        (
            "optimiser:",
            "optimizer:",
            "6:",
            ["optimizer", "unknown key", "did you mean 'optimiser'?"],
        ),
        ("  lr:", "  lrr:", "7", ["optimiser.lrr = 0.01", "unknown key", "did you mean 'lr'?"]),
        (
            "temperature",
            "temprature",
            "5",
            ["method.temprature = 0.5", "did you mean 'temperature'?", "min_cells"],
        ),
        ("size_px", "size", "1", ["data.size", "did you mean 'size_px'?", "num_train"]),
        (
            "name: rml",
            "name: rmll",
            "4",
            ['method.name = "rmll"', "unknown method", "did you mean 'rml'?", "iml"],
        ),
        (
            "name: scenes",
            "name: camvit",
            "1",
            ['data.name = "camvit"', "unknown data set", "did you mean 'camvid'?"],
        ),
        ("lr: 1e-2", "lr: fast", "7", ['optimiser.lr = "fast"', "expected a number"]),
        ("lr: 1e-2", "lr: -1", "7", ["optimiser.lr = -1.0", "expected a positive number"]),
        ("lr: 1e-2", "lr: yes", "7", ["optimiser.lr = true", "expected a number"]),
        ("[4]", "[4.5]", "8", ["schedule.stage_steps.0 = 4.5", "expected an integer"]),
        ("[4]", "4", "8", ["schedule.stage_steps = 4", "expected a list"]),
        ("{fraction: 0.5}", "{fraction: 1.5}", "2", ["split.fraction = 1.5", "a share in (0, 1]"]),
        ("{fraction: 0.5}", "{}", "2", ["num_labelled / fraction", "exactly one of the two"]),
        ("{fraction: 0.5}", "3", "2", ["split = 3", "expected keys and values"]),
        ("name: rml\n", "{}\n", "5", ["not valid YAML"]),
    ],
)
def test_an_error_names_line_key_value_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, place: str, parts: list[str]
) -> None:
    assert old in RUN
    text = message(write(tmp_path, RUN.replace(old, new, 1)))
    assert f"run.yaml:{place}" in text
    for part in parts:
        assert part in text
    assert "\n" not in text, "one mistake is one message"


def test_a_wrong_network_name_and_backbone_key(tmp_path: Path) -> None:
    path = write(tmp_path, RUN + "network: {name: deeplab_v3, backbone: resnet18}\n")
    assert "network.name = \"deeplab_v3\": unknown network; did you mean 'deeplab_v2'?" in message(
        path
    )
    path = write(tmp_path, RUN + "network: {backbon: resnet18}\n")
    assert "run.yaml:9: network.backbon" in message(path)


def test_two_kinds_of_network_are_chosen_by_name(tmp_path: Path) -> None:
    peers = (
        "network: {backbone: resnet18, weights: none}\npeer_network: {name: setr, decoder: naive}\n"
    )
    config = load_run_config(write(tmp_path, RUN + peers))
    assert config.student_networks == (
        DeepLabV2Config(backbone="resnet18", weights="none"),
        SetrConfig(decoder="naive"),
    )
    path = write(tmp_path, RUN + peers.replace("decoder: naive", "aspp_branches: 2"))
    assert "run.yaml:10: peer_network.aspp_branches = 2: unknown key" in message(path)
    path = write(tmp_path, RUN + peers.replace("name: setr, decoder", "decoder"))
    assert "peer_network.name: missing; choices: deeplab_v2, " in message(path)
    path = write(tmp_path, RUN + peers)
    assert "peer_network.decoder = \"up\": did you mean 'pup'?" in message(
        path, "peer_network.decoder=up"
    )
    assert "weights_file = null: expected a path" in message(path, "network.weights=coco").replace(
        "None", "null"
    )


def test_projected_features_need_networks_that_project(tmp_path: Path) -> None:
    path = write(tmp_path, RUN.replace("temperature: 0.5", "feature: projected"))
    assert 'run.yaml:5: method.feature = "projected"' in message(path).replace("'", '"')
    load_run_config(path, ["network.projection_width=256"])
    assert "every student" in message(
        path, "network.projection_width=256", "peer_network.name=setr"
    )


def test_only_the_chosen_class_complains(tmp_path: Path) -> None:
    """`data` could be three classes; a person is told about the one that was named."""
    path = write(
        tmp_path,
        RUN.replace("{name: scenes, size_px: [32, 48]}", "{name: folder, class_names: [a, b]}"),
    )
    lines = message(path).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["data.folder", "data.size_px"]
    assert all("missing" in line for line in lines)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = RUN.replace("lr:", "lrr:").replace("fraction", "fractoin").replace("rml", "rmll")
    assert len(message(write(tmp_path, text)).splitlines()) == 3


def test_a_missing_key_says_what_it_should_hold(tmp_path: Path) -> None:
    text = message(write(tmp_path, "split: {fraction: 0.5}\ndata: {name: scenes}\n"))
    assert "method: missing" in text
    assert "supervised" in text


def test_a_name_where_a_block_belongs(tmp_path: Path) -> None:
    text = message(write(tmp_path, "data: camvid\nsplit: {fraction: 0.5}\nmethod: {name: iml}\n"))
    assert 'run.yaml:1: data = "camvid": expected keys and values' in text


def test_checks_across_parts_name_their_key(tmp_path: Path) -> None:
    path = write(tmp_path, RUN.replace("rml\n  temperature: 0.5", "supervised"))
    assert "evaluation.networks" in message(path, "evaluation.networks=[teacher_2]")


def test_an_evaluation_that_cannot_be_names_its_key(tmp_path: Path) -> None:
    path = write(tmp_path, RUN)
    assert "evaluation.inference_px = None: expected [height, width]" in message(
        path, "evaluation.inference=padded"
    )
    assert "evaluation.every_steps = 0: expected more than 0" in message(
        path, "evaluation.moment=best_val"
    )
    assert 'evaluation.moment = "best": ' in message(path, "evaluation.moment=best")
    settings = [
        "evaluation.inference=sliding",
        "evaluation.inference_px=[64, 96]",
        "evaluation.window_stride=0.5",
    ]
    assert load_run_config(path, settings).evaluation.stride_px == (32, 48)


def test_images_may_keep_their_size_where_the_data_set_allows_it(tmp_path: Path) -> None:
    folder = RUN.replace(
        "{name: scenes, size_px: [32, 48]}",
        "{name: folder, folder: f, class_names: [a, b], size_px: null}",
    )
    assert load_run_config(write(tmp_path, folder)).data.size_px is None
    assert "data.size_px = null: " in message(write(tmp_path, RUN), "data.size_px=null")


def test_override_replaces_only_its_key(tmp_path: Path) -> None:
    config = load_run_config(
        write(tmp_path, RUN), ["schedule.stage_steps=[7, 8]", "method.min_cells=3"]
    )
    assert config.schedule.stage_steps == (7, 8)
    assert config.schedule.warm_up_steps == 4
    assert config.method == RmlConfig(temperature=0.5, min_cells=3)


def test_an_override_with_a_block_is_laid_over_key_by_key(tmp_path: Path) -> None:
    config = load_run_config(write(tmp_path, RUN), ["schedule={warm_up_steps: 9}"])
    assert config.schedule.warm_up_steps == 9
    assert config.schedule.stage_steps == (4,)


def test_a_key_overridden_twice_is_an_error(tmp_path: Path) -> None:
    assert message(write(tmp_path, RUN), "seed=1", "seed=2") == (
        "--set seed: seed: given twice (first at --set seed)"
    )


def test_override_of_the_method_keeps_what_the_new_one_has_too(tmp_path: Path) -> None:
    path = write(tmp_path, RUN.replace("temperature: 0.5", "temperature: 0.5\n  soft_labels: true"))
    config = load_run_config(path, ["method.name=iml"])
    assert config.method.name == "iml"
    assert config.method.soft_labels
    assert load_run_config(path, ["method.name=supervised"]).method.name == "supervised"


def test_override_with_a_whole_block_starts_from_defaults(tmp_path: Path) -> None:
    assert load_run_config(write(tmp_path, RUN), ["method={name: rml}"]).method == RmlConfig()


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (
            "optimiser.lrr=1",
            "--set optimiser.lrr: optimiser.lrr = 1: unknown key; did you mean 'lr'?",
        ),
        ("optimser.lr=1", "--set optimser.lr: optimser = "),
        ("optimiser.lr=-1", "--set optimiser.lr: optimiser.lr = -1.0: expected a positive number"),
        (
            "split.num_labelled=3",
            "--set split.num_labelled: split: num_labelled / fraction = (3, 0.5)",
        ),
        (
            "optimiser.lr.x=1",
            "--set optimiser.lr.x: optimiser.lr.x: optimiser.lr = 0.01 holds no keys",
        ),
        ("optimiser.lr=[", "--set optimiser.lr: not valid YAML"),
        ("optimiser.lr=.nan", "expected a finite number"),
        ("optimiser.lr", "--set optimiser.lr: expected KEY.PATH=VALUE"),
        ("=3", "expected KEY.PATH=VALUE"),
        ("a..b=3", "expected KEY.PATH=VALUE"),
    ],
)
def test_a_bad_override_names_itself(tmp_path: Path, override: str, part: str) -> None:
    assert part in message(write(tmp_path, RUN), override)


def test_a_study_is_refused_with_the_right_command(tmp_path: Path) -> None:
    text = message(write(tmp_path, "name: x\nbase: {}\nrows: []\n"))
    assert "this is a study" in text
    assert "rml launch" in text


def test_every_phase_of_dmt_needs_its_share(tmp_path: Path) -> None:
    text = RUN.replace("  name: rml\n  temperature: 0.5\n", "  name: dmt\n")
    assert (
        "schedule.stage_steps = (4,): expected 5 stages, one for each of method.fractions"
        in message(write(tmp_path, text))
    )
    phases = load_run_config(write(tmp_path, text), ["schedule.stage_steps=[4, 4, 4, 4, 4]"])
    assert phases.schedule.stage_steps == (4,) * 5


def test_rates_of_the_aspp(tmp_path: Path) -> None:
    network = "network: {backbone: resnet18, weights: none, aspp_branches: 2, aspp_rates: [1, 2]}\n"
    config = load_run_config(write(tmp_path, RUN + network))
    assert config.network == DeepLabV2Config(
        backbone="resnet18", weights="none", aspp_branches=2, aspp_rates=(1, 2)
    )
    path = write(tmp_path, RUN + network.replace("[1, 2]", "[1, 2, 3]"))
    assert "network.aspp_rates = (1, 2, 3): expected 2 dilations of at least 1" in message(path)
