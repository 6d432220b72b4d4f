"""stable_worldmodel's LeWM or PLDM of the same sizes as our model, around a ViT of transformers."""

from types import ModuleType

from stable_worldmodel.wm.lewm import LeWM
from stable_worldmodel.wm.lewm import module as lewm_parts
from torch import nn
from transformers import ViTConfig, ViTModel

from lewm_cli.config import ModelConfig

BLOCK_DIM = 10


def build_theirs(config: ModelConfig, model: type[nn.Module] = LeWM, parts: ModuleType = lewm_parts) -> nn.Module:
    """A model of this class, with parts from this module."""
    latent, hidden, predictor = config.latent, config.projector.hidden, config.predictor
    vit = ViTConfig(
        image_size=config.image_size,
        patch_size=config.encoder.patch_size,
        hidden_size=config.encoder.width,
        num_hidden_layers=config.encoder.depth,
        num_attention_heads=config.encoder.heads,
        intermediate_size=config.encoder.mlp,
    )
    return model(
        encoder=ViTModel(vit, add_pooling_layer=False),
        predictor=parts.Predictor(
            num_frames=config.history,
            input_dim=latent,
            hidden_dim=predictor.width or latent,
            output_dim=latent,
            depth=predictor.depth,
            heads=predictor.heads,
            dim_head=predictor.head_dim,
            mlp_dim=predictor.mlp,
            dropout=predictor.dropout,
            emb_dropout=predictor.embedding_dropout,
        ),
        action_encoder=parts.Embedder(
            input_dim=BLOCK_DIM,
            smoothed_dim=config.action_encoder.smoothed,
            emb_dim=latent,
            mlp_scale=config.action_encoder.expansion,
        ),
        projector=parts.MLP(config.encoder.width, hidden, latent, norm_fn=nn.BatchNorm1d),
        pred_proj=parts.MLP(latent, hidden, latent, norm_fn=nn.BatchNorm1d),
    )
