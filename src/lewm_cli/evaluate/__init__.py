"""Success at reaching recorded goals, with its interval and the random baseline; and goals that are only an image."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.evaluate.eval_result import EpisodeResult, EvalResult, GroupResult, PairsOrigin, first_seed, rate
    from lewm_cli.evaluate.evaluation import (
        EvaluationLoop,
        Film,
        count_plans,
        evaluate,
        pair_seed,
        resume_clock,
        submit_random,
    )
    from lewm_cli.evaluate.goal import GoalImageResult, GoalProtocol, drive_to_image
    from lewm_cli.evaluate.improve_result import (
        PRIOR_ALONE,
        DistanceGain,
        ImproveResult,
        PairSet,
        PlannerChoice,
        Trials,
        TriedPlanner,
    )
    from lewm_cli.evaluate.journal import Journal, Journaled
    from lewm_cli.evaluate.manifest import PairManifest, manifest_pairs, read_manifest, write_manifest
    from lewm_cli.evaluate.paired import ComparedResult, NamedResult, PairedComparison, compare
    from lewm_cli.evaluate.pairs import choose_pairs, recorded_pairs
    from lewm_cli.evaluate.protocols import HELD_OUT, RELEASE, find_protocol, refuse_planning, remarks, task_protocols
    from lewm_cli.evaluate.redrawn import redraw
    from lewm_cli.evaluate.reference_result import RankedPair, Ranking, Reference, References
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "HELD_OUT",
    "PRIOR_ALONE",
    "RELEASE",
    "ComparedResult",
    "DistanceGain",
    "EpisodeResult",
    "EvalResult",
    "EvaluationLoop",
    "Film",
    "GoalImageResult",
    "GoalProtocol",
    "GroupResult",
    "ImproveResult",
    "Journal",
    "Journaled",
    "NamedResult",
    "PairManifest",
    "PairSet",
    "PairedComparison",
    "PairsOrigin",
    "PlannerChoice",
    "RankedPair",
    "Ranking",
    "Reference",
    "References",
    "Trials",
    "TriedPlanner",
    "choose_pairs",
    "compare",
    "count_plans",
    "drive_to_image",
    "evaluate",
    "find_protocol",
    "first_seed",
    "manifest_pairs",
    "pair_seed",
    "rate",
    "read_manifest",
    "recorded_pairs",
    "redraw",
    "refuse_planning",
    "remarks",
    "resume_clock",
    "submit_random",
    "task_protocols",
    "write_manifest",
]
