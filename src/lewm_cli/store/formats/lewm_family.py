"""LeWM and PLDM in files of other tools: a ViT, two projectors, an action embedding and an AdaLN predictor."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lewm_cli.config import ModelConfig, Section
from lewm_cli.methods import DEFAULT
from lewm_cli.store.formats.classes import MODEL, STABLE_WORLDMODEL, TRAINED_BY, home_of_parts
from lewm_cli.store.formats.family import ClassTable, Family, Integer, ModelTable, Rate, refuse_one_wide_head
from lewm_cli.store.formats.model_spec import ModelSpec
from lewm_cli.store.formats.refused import RefusalError, printable_value
from lewm_cli.store.keys import LEWM_NAMES

if TYPE_CHECKING:
    from lewm_cli.store.formats.module_config import CapturedModel
    from lewm_cli.store.formats.state import NamedTensors

BATCH_NORM = "torch.nn.BatchNorm1d"
VIT = "stable_pretraining.backbone.utils.vit_hf"
"""Targets of what is no part of a tool for world models; see `classes` for the others."""

VIT_SIZES = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
}
"""Names of sizes that `vit_hf` takes; any other size is one of these with settings of its own."""

_VIT_ALWAYS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_channels": 3, "hidden_dropout_prob": 0.0}
_VIT_ALWAYS |= {"attention_probs_dropout_prob": 0.0}
"""Settings that our encoder cannot express otherwise."""

_VIT_ATTENTION = ("ViTAttention", "ViTSelfAttention", "ViTSdpaSelfAttention")

# Fields of the tables of config.json come in the order in which they are written.


class _Encoder(Section):
    target: Literal["stable_pretraining.backbone.utils.vit_hf"] = Field(alias="_target_")
    size: Literal["tiny", "small", "base", "large", "huge"] = "tiny"
    patch_size: Integer = 16
    image_size: Integer = 224
    pretrained: Literal[False] = False
    use_mask_token: Literal[False]
    hidden_size: Integer | None = None
    num_hidden_layers: Integer | None = None
    num_attention_heads: Integer | None = None
    intermediate_size: Integer | None = None


class _Predictor(ClassTable):
    kind: ClassVar[str] = "Predictor"

    num_frames: Integer
    input_dim: Integer
    hidden_dim: Integer
    output_dim: Integer | None = None
    depth: Integer
    heads: Integer
    mlp_dim: Integer
    dim_head: Integer = 64
    dropout: Rate = 0.0
    emb_dropout: Rate = 0.0


class _ActionEncoder(ClassTable):
    kind: ClassVar[str] = "Embedder"

    input_dim: Integer = 10
    smoothed_dim: Integer = 10
    emb_dim: Integer = 10
    mlp_scale: Integer = 4


class _BatchNorm(Section):
    target: Literal["torch.nn.BatchNorm1d", "torch.nn.modules.batchnorm.BatchNorm1d"] = Field(alias="_target_")
    partial: Literal[True] = Field(alias="_partial_")


class _Projector(ClassTable):
    kind: ClassVar[str] = "MLP"

    input_dim: Integer
    output_dim: Integer | None = None
    hidden_dim: Integer
    norm_fn: _BatchNorm

    @property
    def output(self) -> int:
        return self.output_dim or self.input_dim


class _Model(ModelTable):
    kind: ClassVar[str] = MODEL

    encoder: _Encoder
    predictor: _Predictor
    action_encoder: _ActionEncoder
    projector: _Projector
    pred_proj: _Projector
    embed_dim: Integer | None = None
    history_size: Integer | None = None

    @property
    def _vit(self) -> dict[str, int]:
        written = self.encoder.model_dump(include=set(VIT_SIZES["tiny"]), exclude_none=True)
        return VIT_SIZES[self.encoder.size] | written

    def spec(self) -> ModelSpec:
        """The model; `ModelConfig.build` raises UsageError for sizes that cannot be."""
        encoder, actions, predictor, vit = self.encoder, self.action_encoder, self.predictor, self._vit
        tree = {
            "image_size": encoder.image_size,
            "latent": self.projector.output,
            "history": predictor.num_frames,
            "encoder": {
                "patch_size": encoder.patch_size,
                "width": vit["hidden_size"],
                "depth": vit["num_hidden_layers"],
                "heads": vit["num_attention_heads"],
                "mlp": vit["intermediate_size"],
            },
            "projector": {"hidden": self.projector.hidden_dim},
            "action_encoder": {"smoothed": actions.smoothed_dim, "expansion": actions.mlp_scale},
            "predictor": {
                "width": None if predictor.hidden_dim == predictor.input_dim else predictor.hidden_dim,
                "depth": predictor.depth,
                "heads": predictor.heads,
                "head_dim": predictor.dim_head,
                "mlp": predictor.mlp_dim,
                "dropout": predictor.dropout,
                "embedding_dropout": predictor.emb_dropout,
            },
        }
        sizes = ModelConfig.build(tree, "config.json")
        return ModelSpec(sizes, actions.input_dim, TRAINED_BY[self.target])

    def contradiction(self) -> str | None:
        latent = "projector.output_dim", self.projector.output
        frames = "predictor.num_frames", self.predictor.num_frames
        hidden = "projector.hidden_dim", self.projector.hidden_dim
        pairs = [
            ("projector.input_dim", self.projector.input_dim, ("the width of the encoder", self._vit["hidden_size"])),
            ("predictor.input_dim", self.predictor.input_dim, latent),
            ("predictor.output_dim", self.predictor.output_dim or self.predictor.input_dim, latent),
            ("action_encoder.emb_dim", self.action_encoder.emb_dim, latent),
            ("pred_proj.input_dim", self.pred_proj.input_dim, latent),
            ("pred_proj.output_dim", self.pred_proj.output, latent),
            ("pred_proj.hidden_dim", self.pred_proj.hidden_dim, hidden),
            ("embed_dim", self.embed_dim or latent[1], latent),
            ("history_size", self.history_size or frames[1], frames),
        ]
        for name, value, (other, expected) in pairs:
            if value != expected:
                return f"{name} is {value}, but {other} is {expected}"
        return None


def _tree(config: ModelConfig, block_dim: int, method: str) -> dict[str, Any]:
    # A method for which stable_worldmodel has no class gets that of LeWM: the network is the same.
    model = STABLE_WORLDMODEL.get(method, STABLE_WORLDMODEL[DEFAULT])
    parts = home_of_parts(model)
    encoder, actions, predictor, latent = config.encoder, config.action_encoder, config.predictor, config.latent
    width = predictor.width or latent
    refuse_one_wide_head(predictor, width)
    settings = {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp,
    }
    size = next((name for name, known in VIT_SIZES.items() if known == settings), "tiny")
    mlp = {
        "_target_": f"{parts}.MLP",
        "output_dim": latent,
        "hidden_dim": config.projector.hidden,
        "norm_fn": {"_target_": BATCH_NORM, "_partial_": True},
    }
    return {
        "_target_": model,
        "encoder": {
            "_target_": VIT,
            "size": size,
            "patch_size": encoder.patch_size,
            "image_size": config.image_size,
            "pretrained": False,
            "use_mask_token": False,
            **{key: value for key, value in settings.items() if VIT_SIZES[size][key] != value},
        },
        "predictor": {
            "_target_": f"{parts}.Predictor",
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
            "_target_": f"{parts}.Embedder",
            "input_dim": block_dim,
            "smoothed_dim": actions.smoothed,
            "emb_dim": latent,
            "mlp_scale": actions.expansion,
        },
        "projector": {**mlp, "input_dim": encoder.width},
        "pred_proj": {**mlp, "input_dim": latent},
    }


def _from_modules(model: "CapturedModel") -> ModelSpec:
    modules, length = model.modules, model.length
    model.expect({"predictor": "Predictor", "action_encoder": "Embedder", "projector": "MLP", "pred_proj": "MLP"})
    vit = model.encoder_sizes("encoder", "ViTConfig", "intermediate_size", _VIT_ALWAYS, _VIT_ATTENTION)
    block = "predictor.transformer.layers.0"
    latent = length("projector.net.3.weight", 0)
    width = length("predictor.transformer.norm.weight", 0)
    heads = model.same(("Attention",), "heads")
    history = length("predictor.pos_embedding", 1)
    frames = modules["predictor"].state.get("num_frames", history)  # the authors' code has no such attribute
    if frames != history:
        raise RefusalError(f"its predictor has {history} positions and says num_frames {printable_value(frames)}")
    tree: dict[str, Any] = {
        "image_size": vit["image_size"],
        "latent": latent,
        "history": history,
        "encoder": {
            "patch_size": vit["patch_size"],
            "width": vit["hidden_size"],
            "depth": vit["num_hidden_layers"],
            "heads": vit["num_attention_heads"],
            "mlp": vit["intermediate_size"],
        },
        "projector": {"hidden": length("projector.net.0.weight", 0)},
        "action_encoder": {
            "smoothed": length("action_encoder.patch_embed.weight", 0),
            "expansion": length("action_encoder.embed.0.weight", 0) // max(1, latent),
        },
        "predictor": {
            "width": None if width == latent else width,
            "depth": sum(module.kind == "ConditionalBlock" for module in modules.values()),
            "heads": heads,
            "head_dim": length(f"{block}.attn.to_qkv.weight", 0) // (3 * heads),
            "mlp": length(f"{block}.mlp.net.1.weight", 0),
            "dropout": model.same(("Attention",), "dropout", whole=False),
            "embedding_dropout": model.same(("Dropout",), "p", "predictor.dropout", whole=False),
        },
    }
    sizes = ModelConfig.build(tree, "the pickled module")
    return ModelSpec(sizes, length("action_encoder.patch_embed.weight", 1), TRAINED_BY[modules[""].name])


def _from_shapes(named: "NamedTensors") -> ModelSpec:
    """The released architecture, with the width of an action block that these tensors have."""
    actions = named.entries.get("action_encoder.patch_embed.weight")
    return ModelSpec(ModelConfig(), actions.shape[1] if actions is not None and len(actions.shape) == 3 else 1)


LEWM = Family(
    kind=MODEL,
    have="LeWM and PLDM have",
    sizes=ModelConfig,
    names=LEWM_NAMES,
    module="projector",
    table=_Model,
    tree=_tree,
    from_modules=_from_modules,
    from_shapes=_from_shapes,
    guess="released architecture",
    unknown=", so it is not the released architecture, and for another one encoder heads, predictor heads, head width "
    "and dropout cannot be read from shapes; put its config.json beside the weights, or name it: --config FILE",
    released=ModelSpec(ModelConfig(), 1),
)
