"""Simulators in processes, the episodes in them, and their replay after a crash."""

from lewm_cli.simulate.pool import InProcess, SimulatorPool, gather, simulator_pool
from lewm_cli.simulate.requests import Begin, Follow, Render, Response, RolloutResult, Rollouts, RunActor
from lewm_cli.simulate.simulated_episode import HELD_STEPS, EpisodeProgress, Pair
