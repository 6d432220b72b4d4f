"""A run is measured on what it was never trained on, whatever file that lies in."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.flows.unseen import UnseenEpisodes, find_unseen
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.store import Home, Run, RunFiles
from lewm_cli.tasks import find_task
from synthetic import join_recordings, write_recording

LENGTHS = (30, 24, 40, 20)
DEMO = "tworoom/demo"


def record(home: Home, name: str, noise: int, **attributes: object) -> Dataset:
    states = np.random.default_rng(noise).normal(size=(sum(LENGTHS), 2)).astype(np.float32)
    path = home.write / f"{name}.h5"
    write_recording(path, LENGTHS, dims=2, size=4, noise=noise, columns={"proprio": states}, **attributes)
    return open_dataset(path, name)


@pytest.fixture
def demo(home: Home) -> Dataset:
    dataset = record(home, DEMO, 0, task="tworoom")
    _ = dataset.identity, dataset.episode_digests  # as it is now, whatever becomes of the file
    return dataset


@pytest.fixture
def other(home: Home) -> Dataset:
    return record(home, "tworoom/other", 1, task="tworoom")


@pytest.fixture
def unseen(
    home: Home, demo: Dataset, small_model: JEPA, small_card: Callable[[JEPA], RunCard]
) -> Callable[..., UnseenEpisodes]:
    """What may be measured of a recording by a run that was trained on some episodes of `tworoom/demo`."""

    def find(trained_on: Sequence[int], name: str | None = None, split: str = "episode") -> UnseenEpisodes:
        card = small_card(small_model)
        train = card.provenance.train
        provenance = card.provenance.model_copy(
            update={
                "dataset": demo.identity,
                "trained_on": tuple(demo.episode_digests[episode] for episode in trained_on),
                "train": train.model_copy(update={"data": train.data.model_copy(update={"split": split})}),
            }
        )
        card = card.model_copy(update={"provenance": provenance})
        run = Run(
            "tworoom/lewm", RunFiles(home.run_stem("tworoom/lewm")), small_model, "lewm", card, tensors=1, sha256=""
        )
        found = find_unseen(home, run, find_task("tworoom"), name, said.append)
        assert len(said) == 1
        return found

    said: list[str] = []
    return find


def test_what_was_held_out_is_the_default(unseen: Callable[..., UnseenEpisodes]):
    found = unseen([0, 2, 3])
    assert (found.dataset.name, found.episodes.tolist(), found.held_out) == (DEMO, [1], True)


@pytest.mark.parametrize("task", ["tworoom", "generic", None])
def test_other_recording_is_used_whole(home: Home, unseen: Callable[..., UnseenEpisodes], task: str | None):
    record(home, "elsewhere", 1, **({"task": task} if task else {}))
    found = unseen([0, 1, 2, 3], "elsewhere")
    assert (found.dataset.name, found.episodes.tolist(), found.held_out) == ("elsewhere", [0, 1, 2, 3], True)


def test_episodes_are_known_in_whatever_file_and_order(
    home: Home, demo: Dataset, other: Dataset, unseen: Callable[..., UnseenEpisodes]
):
    join_recordings(home.write / "mixed.h5", [(other, [2]), (demo, [3, 1, 0]), (other, [0])], task="tworoom")
    found = unseen([0, 2, 3], "mixed")
    assert (found.episodes.tolist(), found.held_out) == ([0, 2, 4], True)


@pytest.mark.parametrize("episodes", [[0], [3, 0], [0, 2, 3]])
def test_recording_that_was_trained_on_as_a_whole_is_refused(
    home: Home, demo: Dataset, unseen: Callable[..., UnseenEpisodes], episodes: list[int]
):
    join_recordings(home.write / "part.h5", [(demo, episodes)], task="tworoom")
    with pytest.raises(LewmError, match=r"trained on every episode of part; .*lewm collect tworoom .*--seed 1"):
        unseen([0, 2, 3], "part")


def test_recording_replaced_since_training_is_as_good_as_another(home: Home, unseen: Callable[..., UnseenEpisodes]):
    record(home, DEMO, 5, task="tworoom")
    assert unseen([0, 2, 3]).episodes.tolist() == [0, 1, 2, 3]


def test_clip_split_is_measured_on_what_it_was_trained_on_and_says_so(
    home: Home, demo: Dataset, unseen: Callable[..., UnseenEpisodes]
):
    found = unseen([0, 1, 2, 3], split="clip")
    assert (found.episodes.tolist(), found.held_out) == ([0, 1, 2, 3], False)
    join_recordings(home.write / "part.h5", [(demo, [0, 1])], task="tworoom")
    with pytest.raises(LewmError, match="trained on every episode"):
        unseen([0, 1, 2, 3], "part", split="clip")


def test_recording_of_another_task_is_refused(home: Home, unseen: Callable[..., UnseenEpisodes]):
    record(home, "far", 1, task="mars")
    with pytest.raises(LewmError, match="far is a recording of mars, and tworoom/lewm was trained on tworoom"):
        unseen([0], "far")


def test_digest_of_an_episode_is_of_its_actions_and_states(home: Home, demo: Dataset, other: Dataset):
    joined = open_dataset(join_recordings(home.write / "x.h5", [(other, [1]), (demo, [2])]), "x")
    assert joined.episode_digests == (other.episode_digests[1], demo.episode_digests[2])
    digests = demo.episode_digests + other.episode_digests
    assert len(set(digests)) == 8
    assert {len(digest) for digest in digests} == {16}

    def with_states(states: np.ndarray | None, name: str) -> Dataset:
        path: Path = home.write / f"{name}.h5"
        return open_dataset(write_recording(path, LENGTHS, dims=2, size=4, columns={"proprio": states}), name)

    states = np.zeros((sum(LENGTHS), 2), np.float32)
    still, none = with_states(states, "still"), with_states(None, "none")
    states[LENGTHS[0]] = 1
    moved = with_states(states, "moved")
    assert [a == b for a, b in zip(still.episode_digests, moved.episode_digests, strict=True)] == [
        True,
        False,
        True,
        True,
    ]
    assert not set(none.episode_digests) & set(still.episode_digests)
