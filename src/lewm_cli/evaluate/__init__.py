"""Success at reaching recorded goals by planning, with its interval and its floor; and goals that are only an image."""

from lewm_cli.evaluate.clock import TimeSplit
from lewm_cli.evaluate.evaluate import Film, evaluate
from lewm_cli.evaluate.film_result import Candidates, FilmResult, PlanFilm
from lewm_cli.evaluate.films import choose_episodes, film
from lewm_cli.evaluate.fleet import Fleet, Here, Simulators, simulators
from lewm_cli.evaluate.goal import GoalImageResult, GoalProtocol, drive_to_image
from lewm_cli.evaluate.imagined import ImaginedPlan, imagine_plan
from lewm_cli.evaluate.journal import Journal, Journaled
from lewm_cli.evaluate.paired import ComparedResult, Difference, NamedResult, PairedComparison, compare
from lewm_cli.evaluate.pairs import Pair, draw_pairs
from lewm_cli.evaluate.policy import Policy
from lewm_cli.evaluate.redrawn import Redrawn, redraw
from lewm_cli.evaluate.result import EpisodeResult, EvalResult, GroupResult
from lewm_cli.evaluate.statistics import Rate

__all__ = [
    "Candidates",
    "ComparedResult",
    "Difference",
    "EpisodeResult",
    "EvalResult",
    "Film",
    "FilmResult",
    "Fleet",
    "GoalImageResult",
    "GoalProtocol",
    "GroupResult",
    "Here",
    "ImaginedPlan",
    "Journal",
    "Journaled",
    "NamedResult",
    "Pair",
    "PairedComparison",
    "PlanFilm",
    "Policy",
    "Rate",
    "Redrawn",
    "Simulators",
    "TimeSplit",
    "choose_episodes",
    "compare",
    "draw_pairs",
    "drive_to_image",
    "evaluate",
    "film",
    "imagine_plan",
    "redraw",
    "simulators",
]
