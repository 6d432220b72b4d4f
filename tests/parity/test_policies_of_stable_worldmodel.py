"""Our goal-conditioned policies and values compute and learn what stable_worldmodel's do with the same weights.

Its losses are in training scripts that no package has: here they are written down once more.
"""

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from stable_worldmodel.wm.gcrl import module as theirs
from stable_worldmodel.wm.gcrl.gcrl import GCRL
from torch import Tensor, nn

from lewm_cli.config import ActionStats, GoalPolicyConfig, Inputs
from lewm_cli.methods import METHODS
from lewm_cli.methods.goal_policy import CriticPolicy, GoalPolicy, ValuePolicy
from lewm_cli.model import Batch, Critic, GoalPredictor

SMALL = GoalPolicyConfig.model_validate(
    {
        "image_size": 16,
        "encoder": {"patch_size": 8, "width": 24, "depth": 1, "heads": 2, "mlp": 32},
        "predictor": {"depth": 4, "heads": 2, "head_dim": 8, "mlp": 32},
    }
)
DEEPER = SMALL.model_copy(update={"predictor": SMALL.predictor.model_copy(update={"depth": 5})})
SIZES = pytest.mark.parametrize("sizes", [SMALL, DEEPER], ids=["even depth", "odd depth"])
INPUTS = Inputs(task="tworoom", frameskip=2, actions=ActionStats(mean=(0, 0), std=(1, 1)))
BLOCK = INPUTS.block_dim
CLIPS = 6
GAMMA, TAU = 0.99, 0.9


def sizes_of(sizes: GoalPolicyConfig) -> dict[str, int]:
    predictor = sizes.predictor
    return {
        "num_patches": sizes.patches,
        "num_frames": sizes.history,
        "dim": sizes.encoder.width,
        "depth": predictor.depth,
        "heads": predictor.heads,
        "mlp_dim": predictor.mlp,
        "dim_head": predictor.head_dim,
    }


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Gives theirs our weights; all it has beside them are masks."""
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert all(key.endswith("causal_mask") for key in missing)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.std() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@SIZES
@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("kind", ["policy", "value", "critic"])
def test_predictor_and_its_gradients_are_theirs(scramble: Callable, sizes: GoalPolicyConfig, frames: int, kind: str):
    pool = {"pool_type": "attention" if kind == "policy" else "mean"}
    actions: tuple[Tensor, ...] = ()
    if kind == "critic":
        ours, other = Critic(sizes, BLOCK), theirs.QPredictor(**sizes_of(sizes), **pool, action_dim=BLOCK)
        actions = (drawn(CLIPS, frames, BLOCK, seed=3),)
    else:
        outputs = BLOCK if kind == "policy" else 1
        ours = GoalPredictor(sizes, outputs, queries=kind == "policy")
        other = theirs.Predictor(**sizes_of(sizes), **pool, out_dim=outputs)
    scramble(ours)
    same_weights(ours, other)
    tokens, goal = drawn(CLIPS, frames * sizes.patches, sizes.encoder.width), drawn(CLIPS, sizes.patches, 24, seed=2)
    outputs = [network(tokens, *actions, goal) for network in (ours, other)]
    close(*outputs)
    for output in outputs:
        output.square().mean().backward()
    gradients = dict(other.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-5)
    assert sum(parameter.grad.abs().max() > 0 for parameter in ours.parameters()) > 20


class TheirEncoder(nn.Module):
    """Our encoder, answering as one of transformers does."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        tokens = self.encoder(pixels)
        return SimpleNamespace(last_hidden_state=torch.cat([tokens[:, :1], tokens], dim=1))


def their_policy(ours: GoalPolicy) -> GCRL:
    """Their whole model with our weights."""
    sizes, values = sizes_of(ours.config), {}
    if isinstance(ours, ValuePolicy):
        values["value_predictor"] = theirs.Predictor(**sizes, out_dim=1, pool_type="mean")
    if isinstance(ours, CriticPolicy):
        values["critic_predictor"] = theirs.QPredictor(**sizes, action_dim=BLOCK, pool_type="mean")
    policy = theirs.Predictor(**sizes, out_dim=BLOCK)
    whole = GCRL(TheirEncoder(copy.deepcopy(ours.encoder)), policy, **values, interpolate_pos_encoding=False)
    for name, network in {"action_predictor": policy, **values}.items():
        same_weights(ours.get_submodule(name), network)
    whole.log_stds.data.copy_(ours.log_stds)
    return whole


@pytest.mark.parametrize("method", ["gcbc", "gcivl", "gciql"])
def test_policy_acts_as_theirs(scramble: Callable, method: str):
    ours = scramble(METHODS[method].network(SMALL, BLOCK)).eval()
    pixels, goals = drawn(CLIPS, 3, 16, 16), drawn(CLIPS, 3, 16, 16, seed=2)
    info = {"pixels": pixels[:, None], "goal": goals[:, None]}
    with torch.no_grad():
        close(ours.act(pixels, goals), their_policy(ours).get_action(info))


def expectile(pred: Tensor, target: Tensor) -> Tensor:
    """Theirs, written as in baselines' definition."""
    return theirs.ExpectileLoss(TAU)(pred, target)


def their_losses(ours: GoalPolicy, heads: nn.ModuleDict, batch: Batch, whole: GCRL) -> dict[str, Tensor]:
    """The losses of their training scripts, by method and phase."""
    pixels = torch.cat([batch.pixels, batch.goals[:, None]], dim=1)
    embed = whole.encode({"pixels": pixels})["embed"]
    embed, goal = embed[:, :-1], embed[:, -1:]
    now, later, actions = embed[:, :-1], embed[:, 1:], batch.blocks[:, :-1]
    means, stds = whole.predict_actions(now, goal)
    if type(ours) is GoalPolicy:
        return {"gcbc": (means - actions).square().mean()}
    flat_goal = goal.flatten(1, 2)
    at_goal = torch.stack(
        [
            torch.stack([(frame == wanted).all() for frame in clip[:-1]])
            for clip, wanted in zip(batch.pixels, batch.goals, strict=True)
        ]
    ).float()[..., None]
    with torch.no_grad():
        teacher = theirs.Predictor(**sizes_of(ours.config), out_dim=1, pool_type="mean")
        same_weights(heads["value"], teacher)
        target = -(1 - at_goal) + GAMMA * (1 - at_goal) * teacher(later.flatten(1, 2), flat_goal)
        advantage = whole.predict_values(later, goal) - whole.predict_values(now, goal)
    alpha = 10.0 if isinstance(ours, CriticPolicy) else 3.0
    weights = torch.clamp(torch.exp(alpha * advantage), max=100.0)
    likelihood = torch.log(stds) + 0.5 * (actions - means).square() / stds.square()
    policy = {"policy": (weights * likelihood).mean()}
    values = whole.predict_values(now, goal)
    if not isinstance(ours, CriticPolicy):
        return {"value": expectile(values, target)} | policy
    with torch.no_grad():
        critic = theirs.QPredictor(**sizes_of(ours.config), action_dim=BLOCK, pool_type="mean")
        same_weights(heads["critic"], critic)
        judged = critic(now.flatten(1, 2), actions, flat_goal)
    learned = whole.critic_predictor(now.flatten(1, 2), actions, flat_goal)
    return {"value": expectile(values, judged) + (learned - target).square().mean()} | policy


@pytest.fixture
def batch() -> Batch:
    """Clips, one of which has its goal among its frames, and one after them."""
    pixels, goals = drawn(CLIPS, 4, 3, 16, 16), drawn(CLIPS, 3, 16, 16, seed=2)
    goals[1], goals[2] = pixels[1, 1], pixels[2, 3]
    at_goal = (pixels == goals[:, None]).flatten(2).all(dim=-1)
    return Batch(pixels, 3 * drawn(CLIPS, 4, BLOCK, seed=3), goals=goals, at_goal=at_goal)


@pytest.mark.parametrize(
    ("method", "phase"),
    [("gcbc", "gcbc"), *((name, phase) for name in ("gcivl", "gciql") for phase in ("value", "policy"))],
)
def test_loss_and_gradient_are_theirs(scramble: Callable, batch: Batch, method: str, phase: str):
    objective = METHODS[method]()
    ours = scramble(objective.network(SMALL, BLOCK))
    heads = nn.ModuleDict(objective.heads(SMALL, INPUTS))
    scramble(heads)
    if phase == "policy":  # gains so large that some weights are cut, and deviations beyond what is allowed
        with torch.no_grad():
            ours.value_predictor.out_proj.weight.mul_(20)
            ours.log_stds[:2] = torch.tensor([-5.5, 2.5])
    whole = their_policy(ours)
    loss = objective.loss(ours, heads, Batch(**vars(batch) | {"phase": phase}))
    expected = their_losses(ours, heads, batch, whole)[phase]
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-5)
    loss.total.backward()
    expected.backward()
    gradients = dict(whole.named_parameters())
    trained = {name: weights.grad for name, weights in ours.named_parameters() if weights.grad is not None}
    for name, gradient in trained.items():
        largest = max(1, gradient.abs().max().item())
        torch.testing.assert_close(gradient, gradients[name].grad, rtol=1e-4, atol=1e-5 * largest)
    networks = {"gcbc": {"action_predictor"}, "policy": {"action_predictor", "log_stds"}, "value": {"value_predictor"}}
    learning = networks[phase] | ({"critic_predictor"} if (method, phase) == ("gciql", "value") else set())
    assert {name.partition(".")[0] for name in trained} == learning
    assert all(weights.grad is None for weights in heads.parameters())
