"""Sizes of a world model and of its parts. The defaults are the released ViT-Tiny model (18,034,478 parameters)."""

from abc import abstractmethod
from typing import Self, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lewm_cli.config.section import Section


class EncoderConfig(Section):
    """The vision transformer that sees a frame."""

    patch_size: PositiveInt = Field(14, description="side of a square patch, pixels")
    width: PositiveInt = Field(192, description="token width")
    depth: PositiveInt = Field(12, description="number of blocks")
    heads: PositiveInt = Field(3, description="attention heads")
    mlp: PositiveInt = Field(768, description="hidden width of a block's MLP")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class FrozenEncoderConfig(EncoderConfig):
    """A vision transformer that was trained before, of which the patch tokens are taken; by default DINOv2-small."""

    width: PositiveInt = Field(384, description="token width")
    heads: PositiveInt = Field(6, description="attention heads")
    mlp: PositiveInt = Field(1536, description="hidden width of a block's MLP")
    source: str = Field("", description="where its weights are from: a run, a folder, or a model on the Hub")
    sha256: str = Field("", description="of the file that its weights are from")
    layer_scale: bool = Field(False, description="every block scales what it adds, as in DINOv2")
    epsilon: PositiveFloat = Field(1e-12, description="what norms add to a variance; 1e-6 in DINOv2")
    grid: PositiveInt | None = Field(
        None,
        description="patches per side that its positions were trained for, interpolated to other frames, 37 in "
        "DINOv2; those of image_size if not given",
    )


class ProjectorConfig(Section):
    """The two projectors (encoder output and prediction): Linear, BatchNorm, GELU, Linear."""

    hidden: PositiveInt = Field(2048, description="hidden width")


class ActionEncoderConfig(Section):
    """The embedding of an action block."""

    smoothed: PositiveInt = Field(10, description="channels after the pointwise convolution")
    expansion: PositiveInt = Field(4, description="hidden width of the MLP as a multiple of the latent")


class BlocksConfig(Section):
    """The blocks of a transformer, each of attention and an MLP."""

    depth: PositiveInt = Field(6, description="number of blocks")
    heads: PositiveInt = Field(16, description="attention heads")
    head_dim: PositiveInt = Field(64, description="width of one head")
    mlp: PositiveInt = Field(2048, description="hidden width of a block's MLP")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the blocks")


class TransformerConfig(BlocksConfig):
    """A transformer that a condition modulates (AdaLN-zero)."""

    width: PositiveInt | None = Field(None, description="token width; the latent dimension if not given")


class PredictorConfig(TransformerConfig):
    """The causal transformer that predicts the next latent, modulated by the actions."""

    embedding_dropout: float = Field(0.0, ge=0, lt=1, description="dropout after the position embedding")


class PatchPredictorConfig(BlocksConfig):
    """The frame-causal transformer that predicts the patch tokens of the next frame."""

    embedding_dropout: float = Field(0.0, ge=0, lt=1, description="dropout after the position embedding")


class NetworkConfig(Section):
    """Sizes that every network has; actions and frames are described by `Inputs`, not here."""

    image_size: PositiveInt = Field(224, description="side of the square frame that the encoder sees, pixels")
    history: PositiveInt = Field(3, description="history length, model steps")

    @property
    def latent_dim(self) -> int | None:
        """Dimension of the latent of a frame; None for a policy, which has none to plan in."""
        return None

    @property
    def blocks(self) -> str:
        """Numbers of transformer blocks, for tables; empty for a network without."""
        return ""


class ProprioConfig(NetworkConfig):
    """Sizes of a network that takes proprioception beside frames."""

    proprio: PositiveInt | None = Field(
        None, description="dimensions of proprioception; those of the recording if not given"
    )


class WorldModelConfig(NetworkConfig):
    """Sizes that every world model has."""

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Dimension of the latent of a frame."""

    @property
    def latent_tokens(self) -> int:
        """Tokens that the latent of a frame is made of, one after another."""
        return 1


class ModelConfig(WorldModelConfig):
    """Sizes of a world model around a vision transformer and an AdaLN predictor."""

    latent: PositiveInt = Field(192, description="dimension of the latent space")
    encoder: EncoderConfig = EncoderConfig()
    projector: ProjectorConfig = ProjectorConfig()
    action_encoder: ActionEncoderConfig = ActionEncoderConfig()
    predictor: PredictorConfig = PredictorConfig()

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent of a frame."""
        return self.latent

    @property
    def blocks(self) -> str:
        """Numbers of transformer blocks: of the encoder and of the predictor."""
        return f"{self.encoder.depth} + {self.predictor.depth}"

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> Self:
        return _tiled(self, self.encoder)


class PatchNetworkConfig(NetworkConfig):
    """Sizes of a network on the patch tokens of a frozen encoder."""

    encoder: FrozenEncoderConfig = FrozenEncoderConfig()

    @property
    def patches(self) -> int:
        """Patch tokens P of a frame."""
        return int((self.image_size // self.encoder.patch_size) ** 2)

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> Self:
        return _tiled(self, self.encoder)


class DinoWMNopropConfig(PatchNetworkConfig, WorldModelConfig):
    """Sizes of DINO-WM, which predicts patch tokens from patch tokens and actions."""

    predictor: PatchPredictorConfig = PatchPredictorConfig()
    action_embedding: PositiveInt = Field(10, description="width of the embedding of an action block")

    @property
    def token_dim(self) -> int:
        """Width of a token of a latent: what is predicted of a patch."""
        return self.encoder.width

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent of a frame: its patch tokens, one after another."""
        return self.patches * self.token_dim

    @property
    def latent_tokens(self) -> int:
        """Tokens that the latent of a frame is made of: one per patch."""
        return self.patches

    @property
    def blocks(self) -> str:
        """Numbers of transformer blocks: of the frozen encoder and of the predictor."""
        return f"{self.encoder.depth} + {self.predictor.depth}"


class DinoWMConfig(DinoWMNopropConfig, ProprioConfig):
    """Sizes of DINO-WM with proprioception, whose embedding stands in every token behind the patch."""

    proprio_embedding: PositiveInt = Field(10, description="width of the embedding of proprioception")

    @property
    def token_dim(self) -> int:
        """Width of a token of a latent: what is predicted of a patch, and of proprioception."""
        return self.encoder.width + self.proprio_embedding


class GoalPredictorConfig(BlocksConfig):
    """A transformer that looks at frames and at a goal in turns."""

    depth: int = Field(6, ge=3, description="number of blocks; the second is the first that looks at the goal")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the blocks")


class GoalPolicyConfig(PatchNetworkConfig):
    """Sizes of a policy on patch tokens, and of the values that teach it."""

    predictor: GoalPredictorConfig = GoalPredictorConfig()

    @property
    def blocks(self) -> str:
        """Numbers of transformer blocks: of the frozen encoder and of the policy."""
        return f"{self.encoder.depth} + {self.predictor.depth}"


Sizes = TypeVar("Sizes", bound=NetworkConfig)


def _tiled(sizes: Sizes, encoder: EncoderConfig) -> Sizes:
    """The sizes; ValueError if frames are not made of whole patches."""
    if sizes.image_size % encoder.patch_size:
        raise ValueError(f"image_size {sizes.image_size} is not a multiple of encoder.patch_size {encoder.patch_size}")
    return sizes
