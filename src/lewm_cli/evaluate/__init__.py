"""Success at reaching recorded goals by planning, with its interval and its floor; and goals that are only an image."""

from lewm_cli.evaluate.asking import settled
from lewm_cli.evaluate.clock import TimeSplit
from lewm_cli.evaluate.evaluate import evaluate
from lewm_cli.evaluate.film_result import Candidates, FilmResult, PlanFilm
from lewm_cli.evaluate.films import choose_episodes, film
from lewm_cli.evaluate.fleet import Fleet, Here, Simulators, simulators
from lewm_cli.evaluate.goal import GoalImageResult, GoalProtocol, drive_to_image
from lewm_cli.evaluate.imagined import ImaginedPlan, imagine_plan
from lewm_cli.evaluate.journal import Journal, Journaled
from lewm_cli.evaluate.loop import Film
from lewm_cli.evaluate.manifest import PairManifest, manifest_pairs, read_manifest, write_manifest
from lewm_cli.evaluate.objectives import Judge, find_judge
from lewm_cli.evaluate.paired import ComparedResult, NamedResult, PairedComparison, compare
from lewm_cli.evaluate.pairs import Pair, choose_pairs, draw_pairs
from lewm_cli.evaluate.policy import Policy
from lewm_cli.evaluate.protocols import HELD_OUT, RELEASE, find_protocol, remarks, task_protocols
from lewm_cli.evaluate.redrawn import Redrawn, redraw
from lewm_cli.evaluate.referee import Referee
from lewm_cli.evaluate.reference_result import RankedPair, Ranking, Reference, References
from lewm_cli.evaluate.reference_settings import PlansBy, find_references, planned_by, reference_planner
from lewm_cli.evaluate.result import EpisodeResult, EvalResult, GroupResult, PairsOrigin, first_seed
from lewm_cli.evaluate.stage import HELD_STEPS
from lewm_cli.evaluate.swm_solver import SwmSolver

__all__ = [
    "HELD_OUT",
    "HELD_STEPS",
    "RELEASE",
    "Candidates",
    "ComparedResult",
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
    "Judge",
    "NamedResult",
    "Pair",
    "PairManifest",
    "PairedComparison",
    "PairsOrigin",
    "PlanFilm",
    "PlansBy",
    "Policy",
    "RankedPair",
    "Ranking",
    "Redrawn",
    "Referee",
    "Reference",
    "References",
    "Simulators",
    "SwmSolver",
    "TimeSplit",
    "choose_episodes",
    "choose_pairs",
    "compare",
    "draw_pairs",
    "drive_to_image",
    "evaluate",
    "film",
    "find_judge",
    "find_protocol",
    "find_references",
    "first_seed",
    "imagine_plan",
    "manifest_pairs",
    "planned_by",
    "read_manifest",
    "redraw",
    "reference_planner",
    "remarks",
    "settled",
    "simulators",
    "task_protocols",
    "write_manifest",
]
