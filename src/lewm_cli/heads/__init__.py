"""Small networks fitted on frozen latents: to judge plans by, and to ask what latents know."""

from lewm_cli.heads.decoder import DecoderFit, decode, to_frames
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit
from lewm_cli.heads.imagined import Imagined, draw_stretches, imagine_recorded
from lewm_cli.heads.kinds import KINDS, StoredHead, find_head, fit_command, read_head, save_head
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit, encode_episodes
from lewm_cli.heads.position import BATCH, ProbeFit, read_targets, train_mlp
from lewm_cli.heads.reach import ReachFit

__all__ = [
    "BATCH",
    "FITTED",
    "KINDS",
    "SHUFFLED",
    "DecoderFit",
    "HeadFit",
    "Imagined",
    "LatentEpisodes",
    "LatentSplit",
    "ProbeFit",
    "ReachFit",
    "StoredHead",
    "decode",
    "draw_stretches",
    "encode_episodes",
    "find_head",
    "fit_command",
    "imagine_recorded",
    "read_head",
    "read_targets",
    "save_head",
    "to_frames",
    "train_mlp",
]
