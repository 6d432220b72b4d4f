"""A model as the `config.json` of a Hub release: a tree of `_target_`s with their arguments."""

from typing import Any

from lewm_cli.config import EncoderConfig, ModelConfig
from lewm_cli.errors import LewmError

LEWM = "stable_worldmodel.wm.lewm.LeWM"
PREDICTOR = "stable_worldmodel.wm.lewm.module.Predictor"
EMBEDDER = "stable_worldmodel.wm.lewm.module.Embedder"
MLP = "stable_worldmodel.wm.lewm.module.MLP"
BATCH_NORM = "torch.nn.BatchNorm1d"
VIT = "stable_pretraining.backbone.utils.vit_hf"

SIZES = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
}
"""What `vit_hf` calls by a name; any other size is one of these with settings of its own."""

Layout = dict[str, Any]


def layout(config: ModelConfig, block_dim: int) -> Layout:
    """The layout of a model.

    Args:
        config: its sizes.
        block_dim: width of an action block.

    Raises:
        LewmError: stable_worldmodel has no such model.
    """
    latent, predictor = config.latent, config.predictor
    width = predictor.width or latent
    if predictor.heads == 1 and predictor.head_dim == width:
        raise LewmError(
            f"stable_worldmodel leaves out the output projection of attention with one head as wide as its tokens "
            f"(predictor.heads 1, predictor.head_dim {width}), so its LeWM cannot hold these weights; "
            "--to object keeps the module of lewm"
        )
    return {
        "_target_": LEWM,
        "encoder": _encoder(config.encoder, config.image_size),
        "predictor": {
            "_target_": PREDICTOR,
            "num_frames": config.history,
            "input_dim": latent,
            "hidden_dim": width,
            "output_dim": latent,
            "depth": predictor.depth,
            "heads": predictor.heads,
            "mlp_dim": predictor.mlp,
            "dim_head": predictor.head_dim,
            "dropout": predictor.dropout,
            "emb_dropout": predictor.embedding_dropout,
        },
        "action_encoder": {
            "_target_": EMBEDDER,
            "input_dim": block_dim,
            "smoothed_dim": config.action_encoder.smoothed,
            "emb_dim": latent,
            "mlp_scale": config.action_encoder.expansion,
        },
        "projector": _projector(config.encoder.width, config.projector.hidden, latent),
        "pred_proj": _projector(latent, config.projector.hidden, latent),
    }


def _encoder(config: EncoderConfig, image_size: int) -> Layout:
    settings = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp,
    }
    size = next((name for name, known in SIZES.items() if known == settings), "tiny")
    return {
        "_target_": VIT,
        "size": size,
        "patch_size": config.patch_size,
        "image_size": image_size,
        "pretrained": False,
        "use_mask_token": False,
        **{key: value for key, value in settings.items() if SIZES[size][key] != value},
    }


def _projector(input_dim: int, hidden: int, output_dim: int) -> Layout:
    return {
        "_target_": MLP,
        "input_dim": input_dim,
        "output_dim": output_dim,
        "hidden_dim": hidden,
        "norm_fn": {"_target_": BATCH_NORM, "_partial_": True},
    }
