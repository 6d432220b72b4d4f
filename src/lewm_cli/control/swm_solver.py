"""An adapter that lets stable_worldmodel's policies, which plan for its worlds, use our planner."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.control.planner_settings import task_planner
from lewm_cli.control.run_planner import Planner
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.plan import Plan, WarmStart
from lewm_cli.store import Run
from lewm_cli.store.load import load
from lewm_cli.suggestion import few


class SwmSolver:
    """A solver in the sense of stable_worldmodel 0.1.1: `WorldModelPolicy(SwmSolver("tworoom/lewm"), PlanConfig(...))`.

    The policy has to prepare frames and actions as the run's own normalization does; `docs/planning.md` shows how.
    Horizon, receding horizon and warm start are the policy's: its configuration counts, not the planner's.

    Args:
        run: name or path of a run, or what `lewm_cli.load` returned.
        planner: how plans are searched for; the planner of the task's protocol if not given.
        seed: of what the planner draws: the same calls in the same order give the same plans.

    Attributes:
        planner: the settings of planning; as they were given until `configure`, then with the policy's horizons.
        plan: the last one; None before the first.

    Raises:
        LewmError: there is no such run, it cannot be loaded strictly, its normalization is not known, or the planner's
            objective needs a head that is not there or does not fit.
    """

    def __init__(self, run: str | Path | Run, planner: PlannerConfig | None = None, *, seed: int = 42) -> None:
        self.run = run if isinstance(run, Run) else load(run)
        self._actor = Planner(self.run, planner or task_planner(self.run.card.inputs.task))
        self.planner = self._actor.config
        self.plan: Plan | None = None
        self._sequence, self.n_envs = np.random.SeedSequence(seed), 0

    def configure(self, *, action_space: Any, n_envs: int, config: Any) -> None:
        """Take the number of environments, and the horizons of the policy; see stable_worldmodel's `Solver`.

        Raises:
            UsageError: the policy's action blocks are not the run's, or it begins plans at what is left of others, and
                the planner at a prior.
        """
        inputs, width = self.run.card.inputs, int(np.prod(action_space.shape[1:]))
        if (config.action_block, width) != (inputs.frameskip, inputs.actions.dim):
            raise UsageError(
                f"{self.run.name} plans blocks of {inputs.frameskip} actions of {inputs.actions.dim} numbers, and the "
                f"policy takes {config.action_block} of {width}; give PlanConfig action_block={inputs.frameskip}, and "
                f"the policy a world of {inputs.task}"
            )
        if self.planner.prior and config.warm_start and config.receding_horizon < config.horizon:
            raise UsageError(
                "warm_start and prior both say where a plan begins; give PlanConfig warm_start=False, or leave "
                "planner.prior out"
            )
        horizons = {"horizon": config.horizon, "receding": config.receding_horizon, "warm_start": False}
        self._actor = Planner(self.run, self.planner.model_copy(update=horizons))
        self.planner = self._actor.config
        self.n_envs = n_envs

    @property
    def action_dim(self) -> int:
        """Width of an action block."""
        return self.run.card.inputs.block_dim

    @property
    def horizon(self) -> int:
        """Model steps planned."""
        return self.planner.horizon

    def solve(self, info_dict: dict[str, Any], init_action: Tensor | None = None) -> dict[str, Any]:
        """Plan for every environment.

        Args:
            info_dict: `pixels` and `goal`, (E, H, 3, h, w) normalized, of which the last counts; for a run that takes
                proprioception `proprio` and `goal_proprio` too, (E, H, P), normalized.
            init_action: (E, T, block_dim) normalized, where to begin, T at most the horizon.

        Returns:
            `actions` (E, horizon, block_dim) normalized and `costs` (E,), on the CPU.
        """
        latents = self._embed(info_dict, "pixels", "proprio"), self._embed(info_dict, "goal", "goal_proprio")
        begun = time.monotonic()
        cost = self._actor.latent_cost(*latents)
        generators = [
            torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
            for seed in self._sequence.spawn(cost.environments)
        ]
        warm_starts = () if init_action is None else [self._warm_start(one) for one in init_action]
        self.plan = self._actor.solver.solve(self._actor.problem(cost, generators, warm_starts, begun))
        return {"actions": self.plan.actions, "costs": self.plan.cost.tolist()}

    __call__ = solve

    @torch.inference_mode()
    def _embed(self, info_dict: dict[str, Any], frames: str, proprio: str) -> Tensor:
        """Latents (E, D) of the last of every environment's frames, and of its proprioception if the run takes it."""
        taken = (frames,) if self.run.card.inputs.proprio is None else (frames, proprio)
        for name in taken:
            if name not in info_dict:
                raise LewmError(f"{self.run.name} sees {name}, and what the policy passes has only {few(info_dict)}")
        last = (info_dict[name][:, -1:].to(self.run.device, torch.float32) for name in taken)
        return self.run.finite(self.run.world_model.embed(*last)[:, 0])

    def _warm_start(self, blocks: Tensor) -> WarmStart:
        mean = torch.zeros(self.horizon, self.action_dim)
        mean[: len(blocks)] = blocks[: self.horizon]
        return WarmStart(mean, mean.new_empty(0, *mean.shape))
