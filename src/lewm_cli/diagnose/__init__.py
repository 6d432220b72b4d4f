"""Diagnostics of an evaluation: references by true dynamics, rankings and films show what is to blame."""

from lewm_cli.diagnose.film_result import FilmResult, PlanFilm
from lewm_cli.diagnose.films import choose_episodes, film
from lewm_cli.diagnose.reference_diagnostics import ReferenceDiagnostics, find_references, planned_by, reference_planner
from lewm_cli.diagnose.true_cost import PlansBy
