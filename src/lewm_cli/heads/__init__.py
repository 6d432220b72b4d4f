"""Small networks fitted on frozen latents: to judge plans by, and to ask what latents know."""

from lewm_cli.heads.anchor_index import AnchorIndex, Anchors, find_anchors, read_anchors, save_anchors
from lewm_cli.heads.decoder import DecoderFit, decode, to_frames
from lewm_cli.heads.head_fit import FITTED, SHUFFLED, HeadFit
from lewm_cli.heads.imagination import (
    HORIZON,
    Imagined,
    ImaginedLatents,
    draw_stretches,
    imagine_along,
    imagine_recorded,
    recorded_blocks,
    usual_horizon,
)
from lewm_cli.heads.kernel_decoder import KernelDecoder
from lewm_cli.heads.kinds import KINDS, StoredHead, find_head, fit_command, read_head, save_head
from lewm_cli.heads.latent_plane import LatentPlane, recorded_latents
from lewm_cli.heads.latents import LatentEpisodes, LatentSplit, encode_episodes, encode_rows
from lewm_cli.heads.position import BATCH, ProbeFit, read_coordinates, read_targets, train_mlp
from lewm_cli.heads.prior import PriorFit
from lewm_cli.heads.reach import WITH_IMAGINED, ReachFit
from lewm_cli.heads.stored_map import LatentMap, Points
from lewm_cli.heads.umap_embedding import UmapEmbedding
from lewm_cli.heads.untrained import model_steps, untrained_reference
from lewm_cli.heads.views import LatentView, Recorded, View, find_components, in_parts, latent_view, probed_width

__all__ = [
    "BATCH",
    "FITTED",
    "HORIZON",
    "KINDS",
    "SHUFFLED",
    "WITH_IMAGINED",
    "AnchorIndex",
    "Anchors",
    "DecoderFit",
    "HeadFit",
    "Imagined",
    "ImaginedLatents",
    "KernelDecoder",
    "LatentEpisodes",
    "LatentMap",
    "LatentPlane",
    "LatentSplit",
    "LatentView",
    "Points",
    "PriorFit",
    "ProbeFit",
    "ReachFit",
    "Recorded",
    "StoredHead",
    "UmapEmbedding",
    "View",
    "decode",
    "draw_stretches",
    "encode_episodes",
    "encode_rows",
    "find_anchors",
    "find_components",
    "find_head",
    "fit_command",
    "imagine_along",
    "imagine_recorded",
    "in_parts",
    "latent_view",
    "model_steps",
    "probed_width",
    "read_anchors",
    "read_coordinates",
    "read_head",
    "read_targets",
    "recorded_blocks",
    "recorded_latents",
    "save_anchors",
    "save_head",
    "to_frames",
    "train_mlp",
    "untrained_reference",
    "usual_horizon",
]
