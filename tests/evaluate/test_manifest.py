"""A manifest gives its pairs back, and only for the recording and the protocol it was written for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from line import LINE, recording

from lewm_cli.config import EvalProtocol, parse_setting
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import choose_pairs, find_protocol, manifest_pairs, read_manifest, write_manifest
from lewm_cli.tasks import TWOROOM


@pytest.fixture
def frozen(tmp_path: Path) -> tuple[Path, Dataset, EvalProtocol]:
    dataset = recording(tmp_path / "x.h5", [40, 60])
    protocol = find_protocol(TWOROOM, "release", (parse_setting("pairs=5"),))
    path = tmp_path / "pairs.json"
    write_manifest(path, TWOROOM, dataset, protocol, choose_pairs(dataset, TWOROOM, np.arange(2), protocol))
    return path, dataset, protocol


def test_manifest_gives_the_very_pairs_back(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, protocol = frozen
    said: list[str] = []
    other = find_protocol(TWOROOM, "website", (parse_setting("seed=7"),))  # that would draw others
    pairs, origin = manifest_pairs(path, read_manifest(path), TWOROOM, dataset, other, said.append)
    drawn = choose_pairs(dataset, TWOROOM, np.arange(2), protocol)
    assert [(one.episode, one.start_row, one.goal_row) for one in pairs] == [
        (one.episode, one.start_row, one.goal_row) for one in drawn
    ]
    assert all((one.start == other.start).all() for one, other in zip(pairs, drawn, strict=True))
    assert origin.protocol == "release 1 (changed: pairs)"
    assert said == [f"pairs: the 5 of {path}, drawn by release 1 (changed: pairs)"]


def test_manifest_of_another_recording_is_refused(frozen: tuple[Path, Dataset, EvalProtocol], tmp_path: Path):
    path, _, protocol = frozen
    other = recording(tmp_path / "other.h5", [60, 40])
    with pytest.raises(LewmError, match=r"of another recording \(x, 2 episodes, \w{8}\) than other"):
        manifest_pairs(path, read_manifest(path), TWOROOM, other, protocol, print)


def test_manifest_of_other_goals_is_refused(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, _ = frozen
    protocol = find_protocol(TWOROOM, "release", (parse_setting("offset=30"),))
    with pytest.raises(LewmError, match="are 25 steps ahead, and 30 were asked for"):
        manifest_pairs(path, read_manifest(path), TWOROOM, dataset, protocol, print)


def test_manifest_of_pairs_that_a_protocol_does_not_ask_for_is_refused(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, dataset, _ = frozen
    protocol = EvalProtocol(name="moderate", only="even")
    with pytest.raises(LewmError, match=r"moderate asks for pairs of the group 'even', and \d of the 5 in .* are not"):
        manifest_pairs(path, read_manifest(path), LINE, dataset, protocol, print)


@pytest.mark.parametrize("change", [{"episode": 9}, {"start_row": 38, "goal_row": 63}, {"goal_row": 1000}])
def test_manifest_with_rows_that_are_no_pairs_is_refused(
    frozen: tuple[Path, Dataset, EvalProtocol], change: dict[str, int]
):
    path, dataset, protocol = frozen
    tree = json.loads(path.read_text())
    tree["pairs"][0] |= change
    path.write_text(json.dumps(tree))
    with pytest.raises(LewmError, match="names rows that are no pairs of x"):
        manifest_pairs(path, read_manifest(path), TWOROOM, dataset, protocol, print)


def test_manifest_that_names_a_pair_twice_is_refused(frozen: tuple[Path, Dataset, EvalProtocol]):
    path, _, _ = frozen
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"pairs": [*tree["pairs"], tree["pairs"][0]]}))
    with pytest.raises(LewmError, match="names a pair twice"):
        read_manifest(path)


@given(content=st.one_of(st.text(max_size=20), st.just('{"format": 2, "pairs": []}')))
def test_what_is_no_manifest_is_refused(tmp_path_factory: pytest.TempPathFactory, content: str):
    path = tmp_path_factory.mktemp("manifest") / "pairs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LewmError, match=r"is (no|not a) manifest of pairs"):
        read_manifest(path)
