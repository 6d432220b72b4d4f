"""Configuration is refused with a sentence where it is wrong, and means what it says where it is right."""

import math
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from families import AROUND_LEWM
from lewm_cli.config import (
    ActionStats,
    Layer,
    ModelConfig,
    PlannerConfig,
    ProprioStats,
    constant_dimensions,
    merge_layers,
    parse_setting,
    read_toml,
)
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows.training_request import read_settings
from lewm_cli.methods import METHODS, TrainConfig
from lewm_cli.methods.pldm import PLDM
from lewm_cli.report import preset_text
from lewm_cli.tasks import GENERIC, TASKS, Task
from lewm_cli.train import Preset
from lewm_cli.train.schedule import Schedule

ALL_TASKS = (*TASKS, GENERIC)
PRESETS = [(task, preset) for task in ALL_TASKS for preset in task.presets]


def build(*settings: str) -> TrainConfig:
    """The training configuration for a few `--set`."""
    layer = merge_layers([parse_setting(setting) for setting in settings])
    return TrainConfig.build(layer.tree, layer.source)


# Unknown keys and bad values


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("objective.lamda=0.1", "objective.lambda"),
        ("model.encoder.widht=64", "model.encoder.width"),
        ("model.predictor.drop_out=0", "model.predictor.dropout"),
        ("batch_size=32", "optimizer.batch_size"),
        ("lr=1e-3", "optimizer.lr"),
        ("schedule.sotp=3", "schedule.stop"),
        ("decays=3 epochs", "schedule.decay"),
        ("zzzzqqq=1", None),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_known_one(typed, meant):
    with pytest.raises(UsageError) as caught:
        build(typed)
    message = str(caught.value)
    assert f"unknown setting {typed.partition('=')[0]!r}" in message
    assert (f"did you mean {meant!r}?" in message) if meant else ("did you mean" not in message)
    assert f"--set {typed}" in message


def test_misspelled_section_is_refused_with_a_key_of_the_section_meant():
    with pytest.raises(UsageError, match=r"unknown setting 'optimzer'; did you mean 'optimizer"):
        build("optimzer.lr=1e-3")


@pytest.mark.parametrize(
    "setting",
    [
        "objective.lambda=-1",
        "objective.lambda=nan",
        "objective.knots=1",
        "objective.projections=0",
        "optimizer.lr=0",
        "optimizer.lr=inf",
        "optimizer.lr=fast",
        "optimizer.batch_size=1",
        "optimizer.batch_size=2.5",
        "optimizer.precision=fp8",
        "schedule.stop=0 epochs",
        "schedule.stop=10",
        "schedule.stop=1.5 epochs",
        "schedule.stop=ten epochs",
        "schedule.stop=10 hours",
        "schedule.decay=-1 steps",
        "schedule.warmup=1",
        "schedule.warmup=nan",
        "data.validation=0",
        "data.validation=1.0",
        "data.split=rows",
        "data.workers=-1",
        "data.in_memory=maybe",
        "model.latent=0",
        "model.predictor.dropout=1",
        "seed=-1",
        "seed=",
        "model=3",
    ],
)
def test_bad_value_is_refused_naming_the_key(setting):
    with pytest.raises(UsageError) as caught:
        build(setting)
    assert setting.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "sizes"),
    [("model.encoder.heads=5", "width 192 .* heads 5"), ("model.image_size=225", "image_size 225 .*patch_size 14")],
)
def test_sizes_that_do_not_fit_together_are_refused(setting, sizes):
    with pytest.raises(UsageError, match=sizes):
        build(setting)


@pytest.mark.parametrize("key", ["data.in_memory", "optimizer.compile"])
def test_refusal_names_every_value_that_there_is(key):
    with pytest.raises(UsageError, match=f"^{key} = 'maybe': input should be 'auto', True or False"):
        build(f"{key}=maybe")


def test_configuration_cannot_be_changed_after_validation():
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().seed = 1


@pytest.mark.parametrize(
    ("method", "key"), [(name, key) for name in METHODS for key in TrainConfig.keys({"method": name})]
)
def test_every_listed_key_can_be_set(method, key):
    own = TrainConfig(method=method)
    value = own.model_dump(by_alias=True) | {"log": own.log.model_dump()}
    for part in key.split("."):
        value = value[part]
    unset = {"schedule.decay": "'70 epochs'", "log.entity": "team", "log.mode": "offline"}.get(key, "70")
    text = unset if value is None else tomli_w.dumps({"value": value}).partition("=")[2].strip()
    changed = build(f"method={method}", f"{key}={text}")
    assert (changed == own) is (value is not None)


# Methods


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pldn", "there is no method 'pldn'; did you mean 'pldm'?"),
        ("PLDM", "there is no method 'PLDM'; did you mean 'pldm'?"),
        (3, f"there is no method 3; there is {', '.join(METHODS)}"),
        (["lewm"], "there is no method ['lewm']; "),
        ("", "there is no method ''; there is "),
    ],
)
def test_unknown_method_is_refused_with_the_nearest_one(name: object, said: str):
    for objective in ({}, {"objective": {"std": 1}}):
        with pytest.raises(UsageError) as caught:
            read_settings(GENERIC, "small", None, [Layer("a file", {"method": name} | objective)]).config()
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("method", "key", "takes", "having"),
    [
        ("prediction", "lambda", "cosine, straightness, rollout;", "lewm, pldm, delta, inverse"),
        ("delta", "knots", "cosine, straightness, rollout, lambda, decoder;", "lewm"),
        ("lewm", "std", "cosine, straightness, rollout, lambda, knots, projections;", "pldm"),
        ("inverse", "decoder.depth", "cosine, straightness, rollout, lambda, hidden;", "delta"),
        ("pldm", "projections", "cosine, straightness, rollout, lambda, std, cov, ", "lewm"),
    ],
)
def test_setting_of_another_method_is_said_to_be_that(method: str, key: str, takes: str, having: str):
    settings = parse_setting(f"method={method}"), parse_setting(f"objective.{key}=2")
    for layers in (settings, settings[::-1]):
        with pytest.raises(UsageError) as caught:
            read_settings(GENERIC, "small", None, layers).config()
        group = key.partition(".")[0]
        said = f"objective.{group} means nothing to the method {method}, whose objective takes {takes}"
        assert said in str(caught.value)
        assert f"it is a setting of {having} (in preset" in str(caught.value)


@pytest.mark.parametrize("method", AROUND_LEWM)
def test_weights_are_numbers_from_zero_on(method: str):
    names = [name for name, kind in METHODS[method].types({}).items() if kind is float]
    assert {"cosine", "straightness", "rollout"} <= set(names)
    for name in names:
        for value in ("-1", "nan", "inf", "much"):
            with pytest.raises(UsageError, match=f"objective.{name} = "):
                build(f"method={method}", f"objective.{name}={value}")
        assert build(f"method={method}", f"objective.{name}=0").objective.model_dump(by_alias=True)[name] == 0


@pytest.mark.parametrize("method", METHODS)
def test_printed_preset_of_any_method_goes_back_in_over_any_preset(method: str, tmp_path: Path):
    for preset in (Preset(GENERIC, name) for name in GENERIC.presets):
        printed = preset.config(method)
        assert printed.method == method
        file = tmp_path / "mine.toml"
        file.write_text(preset_text(printed), encoding="utf-8")
        again = read_settings(GENERIC, preset.name, file, []).config()
        assert again == printed
        over = read_settings(TASKS[0], "release", file, []).config()
        assert (over.model, over.objective) == (printed.model, printed.objective)


def test_last_layer_that_names_a_method_decides_and_others_keep_their_objective_to_themselves(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text('method = "pldm"\nseed = 5\n[objective]\nstd = 3\ncosine = 0.5\n', encoding="utf-8")
    said: list[str] = []

    def configured(*settings: str) -> TrainConfig:
        above = [parse_setting(one) for one in settings]
        return read_settings(GENERIC, "small", file, above, said.append).config()

    objective = configured("objective.lambda=2").objective
    assert objective.model_dump(by_alias=True) == PLDM(std=3, cosine=0.5, **{"lambda": 2}).model_dump(by_alias=True)
    assert said == []
    for above in (["method=lewm"], ["method=delta", "method=lewm"], ["objective.knots=9", "method=lewm"]):
        other = configured(*above)
        assert (other.method, other.seed, other.objective.cosine) == ("lewm", 5, 0.0)
        assert other.objective.projections == 256  # the preset's, for lewm
        assert said.pop() == f"note: objective in the file {file} is for pldm, so it is left out with lewm"
    # Whoever names no method means the one that is trained.
    file.write_text("[objective]\ncosine = 0.5\n", encoding="utf-8")
    assert configured("method=delta").objective.cosine == 0.5
    assert configured().objective.projections == 256
    assert said == []


def test_preset_has_an_objective_for_every_method_that_needs_one(tmp_path: Path):
    toml = '[presets.own]\nmethod = "delta"\n'
    toml += "methods.delta.objective = { lambda = 3 }\nmethods.pldm.objective = { std = 2 }\n"
    (tmp_path / "task.toml").write_text(toml, encoding="utf-8")
    preset = Preset(Task("toy", tmp_path, "a toy"), "own")
    assert (preset.config().method, preset.config().objective.lambda_) == ("delta", 3)
    assert (preset.config("pldm").objective.std, preset.config("pldm").objective.lambda_) == (2, 1)
    assert preset.config("lewm").objective == METHODS["lewm"]()
    file = tmp_path / "own.toml"
    file.write_text('method = "pldm"\n', encoding="utf-8")
    assert read_settings(preset.task, "own", file, [parse_setting("objective.cov=1")]).config().objective.std == 2
    assert read_settings(preset.task, "own", file, [parse_setting("method=delta")]).config().objective.lambda_ == 3


def test_settings_of_a_task_for_a_method_are_laid_over_those_of_all_tasks(tmp_path: Path):
    toml = '[presets.small]\nmethods.gcbc.schedule.stop = "7 steps"\n'
    toml += (
        "model = { latent = 8, image_size = 48, encoder = { patch_size = 8 }, predictor = { depth = 5, heads = 2 } }\n"
    )
    (tmp_path / "task.toml").write_text(toml, encoding="utf-8")
    own, everywhere = (Preset(task, "small").config("gcbc") for task in (Task("toy", tmp_path, "a toy"), GENERIC))
    assert (own.schedule.stop, everywhere.schedule.stop) == ("7 steps", "3000 steps")
    assert (own.data.frameskip, own.model.predictor.depth) == (1, everywhere.model.predictor.depth)
    # What its network has too is as the task's preset says it.
    assert (own.model.image_size, own.model.encoder.patch_size, own.model.predictor.heads) == (48, 8, 2)


# Layers and --set


def test_later_layers_win_key_by_key():
    preset = Layer("preset small", {"optimizer": {"lr": 1e-3, "batch_size": 64}, "seed": 1})
    file = Layer("the file own.toml", {"optimizer": {"lr": 2e-3}})
    option = Layer("--set optimizer.lr=3e-3", {"optimizer": {"lr": 3e-3}})
    assert merge_layers([preset, file]).tree == {"optimizer": {"lr": 2e-3, "batch_size": 64}, "seed": 1}
    assert merge_layers([preset, file, option]).tree["optimizer"] == {"lr": 3e-3, "batch_size": 64}
    assert merge_layers([option, file, preset]).tree["optimizer"] == {"lr": 1e-3, "batch_size": 64}


def test_merged_layer_names_the_places_that_said_something():
    layers = [Layer("preset small", {"seed": 1}), Layer("the file own.toml", {}), Layer("--set seed=2", {"seed": 2})]
    assert merge_layers(layers).source == "preset small + --set seed=2"


def test_merging_leaves_the_layers_as_they_were():
    below = Layer("preset", {"optimizer": {"lr": 1.0}, "data": {}})
    merged = merge_layers([below, Layer("file", {"optimizer": {"lr": 2.0}})])
    merged.tree["data"]["workers"] = 3
    assert below.tree == {"optimizer": {"lr": 1.0}, "data": {}}


TOML_SCALARS = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())


@given(TOML_SCALARS)
def test_setting_gives_back_any_toml_scalar(value):
    text = tomli_w.dumps({"value": value}).partition("=")[2]
    parsed = parse_setting(f"section.key={text}").tree["section"]["key"]
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.lists(st.from_regex(r"[a-z_]+", fullmatch=True), min_size=1, max_size=5))
def test_setting_nests_as_deep_as_its_dots(parts):
    tree = parse_setting(f"{'.'.join(parts)}=1").tree
    for part in parts:
        assert list(tree) == [part]
        tree = tree[part]
    assert tree == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("data.split=clip", "clip"),
        ("data.split= clip ", "clip"),
        ("data.split='clip'", "clip"),
        ("data.split=a=b", "a=b"),
        ("data.split=", ""),
        (" data.split =1", 1),
    ],
)
def test_bare_word_is_a_string(text, value):
    assert parse_setting(text).tree == {"data": {"split": value}}


@pytest.mark.parametrize("text", ["", "seed", "=1", ".lr=1", "optimizer.=1", "optimizer..lr=1"])
def test_setting_without_key_or_value_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"section\.key=value, for example"):
        parse_setting(text)


def test_configuration_file_is_read(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text("seed = 5\n[objective]\nlambda = 0.2\n")
    layer = read_toml(path)
    config = TrainConfig.build(layer.tree, layer.source)
    assert (config.seed, config.objective.lambda_) == (5, 0.2)
    assert str(path) in layer.source


def test_missing_configuration_file_is_refused_with_what_to_type(tmp_path: Path):
    with pytest.raises(LewmError, match=r"no configuration file .*own\.toml; `lewm presets"):
        read_toml(tmp_path / "own.toml")


# Presets and rules


@pytest.mark.parametrize(("task", "preset"), PRESETS, ids=[f"{task.name}-{preset}" for task, preset in PRESETS])
def test_every_preset_is_a_training_configuration(task, preset):
    config = Preset(task, preset).config()
    assert config.schedule.warmup < 1
    if preset == "release":
        assert config.model == ModelConfig()
        assert (config.schedule.stop, config.schedule.decay) == ("10 epochs", "100 epochs")
        assert (config.optimizer.lr, config.optimizer.batch_size, config.objective.lambda_) == (5e-5, 128, 0.09)


@pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
def test_every_task_has_a_release_and_a_small_preset(task):
    assert {"release", "small"} <= task.presets.keys()


def test_cosine_may_not_end_before_training_stops():
    config = build("schedule.stop=10 epochs", "schedule.decay=5 epochs", "optimizer.batch_size=10")
    with pytest.raises(
        UsageError, match=r"schedule\.decay = '5 epochs' \(50 steps\), before .* '10 epochs' \(100 steps\)"
    ):
        Schedule.of(config, clips=109)


@pytest.mark.parametrize(
    ("stop", "decay", "steps"),
    [
        ("10 epochs", None, (100, 100)),
        ("10 epochs", "10 epochs", (100, 100)),
        ("10 epochs", "100 epochs", (100, 1000)),
        ("1 epoch", "10 steps", (10, 10)),
        ("25 steps", "3 epochs", (25, 30)),
        ("1 step", None, (1, 1)),
    ],
)
def test_cosine_may_end_at_or_after_the_stop(stop, decay, steps):
    settings = ["optimizer.batch_size=10", f"schedule.stop={stop}"] + ([f"schedule.decay={decay}"] if decay else [])
    schedule = Schedule.of(build(*settings), clips=109)
    assert (schedule.total_steps, schedule.decay_steps) == steps


def test_batch_of_more_clips_than_there_are_is_refused():
    with pytest.raises(LewmError, match="a batch takes 110 clips but there are only 109"):
        Schedule.of(build("optimizer.batch_size=110"), clips=109)


def test_learning_rate_rises_and_falls_to_nothing_where_the_cosine_ends():
    config = build("schedule.stop=100 steps", "schedule.decay=200 steps", "schedule.warmup=0.1", "optimizer.lr=1")
    rates = [Schedule.of(config, clips=1000).lr(step) for step in range(201)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[110] == pytest.approx(0.5)
    assert rates[200] == pytest.approx(0.0, abs=1e-12)


def test_learning_rate_stays_where_it_never_decays():
    config = build("schedule.stop=100 steps", "schedule.decay=never", "schedule.warmup=0.02", "optimizer.lr=1")
    schedule = Schedule.of(config, clips=1000)
    assert [schedule.lr(step) for step in range(100)] == [0.5] + 99 * [1.0]


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"candidates": 20, "elites": 30}, "elites 30 is more than candidates 20"),
        ({"horizon": 3, "receding": 4}, "receding 4 is more than horizon 3"),
        ({"elites": 1}, "elites = 1"),
        ({"iterations": 0}, "iterations = 0"),
        ({"std": 0.0}, "std = 0"),
        ({"elite": 5}, "did you mean 'elites'"),
    ],
)
def test_planner_that_cannot_plan_is_refused(tree, reason):
    with pytest.raises(UsageError, match=reason):
        PlannerConfig.build(tree, "the protocol")


def test_planner_may_keep_all_candidates_and_execute_the_whole_plan():
    PlannerConfig.build({"candidates": 2, "elites": 2, "horizon": 1, "receding": 1}, "the protocol")


# Action statistics


def action_arrays(bound: float) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 20), st.integers(1, 4))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-bound, bound, width=32)))


def test_fit_ignores_rows_without_an_action():
    rows = np.array([[1, 10], [3, 30]], np.float32)
    last = np.array([[np.nan, np.nan], [np.nan, 1e6]], np.float32)
    fitted = ActionStats.fit(np.concatenate([rows, last]))
    assert fitted == ActionStats.fit(rows)
    assert fitted.mean == (2.0, 20.0)
    assert fitted.std == (1.0, 10.0)


@pytest.mark.parametrize("rows", [0, 3])
def test_recording_without_any_action_is_refused(rows):
    with pytest.raises(LewmError, match="no finite action"):
        ActionStats.fit(np.full((rows, 2), np.nan, np.float32))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_action_is_refused(value):
    with pytest.raises(LewmError, match="infinite actions; write NaN"):
        ActionStats.fit(np.array([[1, 2], [value, 3]], np.float32))
    with pytest.raises(LewmError, match="infinite proprioception; write NaN"):
        ProprioStats.fit(np.array([[1, 2], [value, 3]], np.float32))


@given(st.floats(-100, 100), st.integers(1, 50), st.sampled_from([np.float32, np.float64]))
def test_constant_dimension_has_standard_deviation_one(value, rows, dtype):
    moving = np.arange(rows) % 2
    fitted = ActionStats.fit(np.stack([np.full(rows, value), moving], axis=1).astype(dtype))
    assert fitted.std[0] == 1.0
    assert (fitted.std[1] == 1.0) is (rows == 1)


@given(action_arrays(100))
def test_fitted_actions_are_z_scores(actions):
    stats = ActionStats.fit(actions)
    assume(min(stats.std) > 0.01)
    scores = stats.normalize(actions)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-3)
    spread = np.where(constant_dimensions(actions.astype(np.float64)), 0, 1)
    np.testing.assert_allclose(scores.std(axis=0), spread, atol=1e-3)


@given(action_arrays(100), st.data())
def test_denormalize_undoes_normalize(actions, data):
    dims = actions.shape[1]
    mean = tuple(data.draw(st.lists(st.floats(-10, 10), min_size=dims, max_size=dims)))
    std = tuple(data.draw(st.lists(st.floats(0.01, 10), min_size=dims, max_size=dims)))
    stats = ActionStats(mean=mean, std=std)
    restored = stats.denormalize(stats.normalize(actions))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, actions, rtol=1e-6, atol=1e-5)


def test_missing_action_becomes_the_mean_action():
    stats = ActionStats(mean=(5.0, -1.0), std=(2.0, 0.5))
    scores = stats.normalize(np.array([[np.nan, np.nan], [7.0, np.nan]]))
    np.testing.assert_array_equal(scores, np.array([[0, 0], [1, 0]], np.float32))
    np.testing.assert_array_equal(stats.denormalize(scores[:1]), np.array([[5, -1]], np.float32))


def test_actions_far_out_are_not_clipped():
    stats = ActionStats(mean=(0.0,), std=(0.206,))
    assert stats.normalize(np.array([[1.5], [-30.0]]))[:, 0] == pytest.approx([1.5 / 0.206, -30 / 0.206])


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.0,), (1.0, 1.0))])
def test_statistics_that_do_not_pair_up_are_refused(mean, std):
    with pytest.raises(UsageError, match="same number of values, at least one"):
        ActionStats.build({"mean": mean, "std": std}, "a card")


@given(action_arrays(100))
def test_statistics_survive_json_exactly(actions):
    stats = ActionStats.fit(actions)
    assert ActionStats.model_validate_json(stats.model_dump_json()) == stats
    assert all(math.isfinite(value) for value in stats.mean + stats.std)
