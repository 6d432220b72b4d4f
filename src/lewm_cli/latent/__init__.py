"""Measurements of the latent space of a run: its spectrum, its shape, the way through it, and what near means there."""

from lewm_cli.latent.latent_result import ENCODERS, Encoder, LatentResult, LatentScores
from lewm_cli.latent.measuring import measure_latent
from lewm_cli.latent.tracks import draw_tracks
