"""Small networks fitted on frozen latents: to judge plans by, and to ask what latents know."""

from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit
from lewm_cli.heads.kinds import KINDS, find_kind
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit, encode_episodes
from lewm_cli.heads.mlp import BATCH, train_mlp
from lewm_cli.heads.position import ProbeFit, read_target, reason_to_leave_out
from lewm_cli.heads.reach import ReachFit
from lewm_cli.heads.stored import find_head, fit_command, read_head, save_head

__all__ = [
    "BATCH",
    "FITTED",
    "KINDS",
    "SHUFFLED",
    "HeadFit",
    "LatentEpisodes",
    "LatentSplit",
    "ProbeFit",
    "ReachFit",
    "encode_episodes",
    "find_head",
    "find_kind",
    "fit_command",
    "read_head",
    "read_target",
    "reason_to_leave_out",
    "save_head",
    "train_mlp",
]
