"""Success at reaching recorded goals by planning, with its interval and its floor."""

from lewm_cli.evaluate.evaluate import HELD_STEPS, Film, evaluate
from lewm_cli.evaluate.film_result import Candidates, FilmResult, PlanFilm
from lewm_cli.evaluate.films import choose_episodes, film
from lewm_cli.evaluate.manifest import FrozenPair, PairManifest, freeze, read_manifest, thaw
from lewm_cli.evaluate.paired import ComparedResult, Difference, NamedResult, PairedComparison, compare
from lewm_cli.evaluate.pairs import Pair, choose_pairs, draw_pairs
from lewm_cli.evaluate.protocols import HELD_OUT, RELEASE, find_protocol, remarks, task_protocols
from lewm_cli.evaluate.result import EpisodeResult, EvalResult, GroupResult, PairsOrigin
from lewm_cli.evaluate.series import EvalSeries, PooledGroup, SeriesPoint
from lewm_cli.evaluate.statistics import PooledRate, Rate

__all__ = [
    "HELD_OUT",
    "HELD_STEPS",
    "RELEASE",
    "Candidates",
    "ComparedResult",
    "Difference",
    "EpisodeResult",
    "EvalResult",
    "EvalSeries",
    "Film",
    "FilmResult",
    "FrozenPair",
    "GroupResult",
    "NamedResult",
    "Pair",
    "PairManifest",
    "PairedComparison",
    "PairsOrigin",
    "PlanFilm",
    "PooledGroup",
    "PooledRate",
    "Rate",
    "SeriesPoint",
    "choose_episodes",
    "choose_pairs",
    "compare",
    "draw_pairs",
    "evaluate",
    "film",
    "find_protocol",
    "freeze",
    "read_manifest",
    "remarks",
    "task_protocols",
    "thaw",
]
