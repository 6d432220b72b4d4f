"""A reachability head on frozen latents: how many steps is it from here to there?"""

from lewm_cli.fit_cost.distances import Distances
from lewm_cli.fit_cost.pairs import FramePairs, draw_pairs, draw_strangers
from lewm_cli.fit_cost.reach import fit_reach, fitting_steps
from lewm_cli.fit_cost.score import score_reach

__all__ = ["Distances", "FramePairs", "draw_pairs", "draw_strangers", "fit_reach", "fitting_steps", "score_reach"]
