"""The table of methods: a method is one module beside this one, and one entry here."""

from lewm_cli.methods.delta import Delta
from lewm_cli.methods.gcbc import GCBC
from lewm_cli.methods.gciql import GCIQL
from lewm_cli.methods.gcivl import GCIVL
from lewm_cli.methods.inverse import Inverse
from lewm_cli.methods.lewm import LeWM
from lewm_cli.methods.objective import Objective
from lewm_cli.methods.patch_prediction import PatchPrediction, ProprioPatchPrediction
from lewm_cli.methods.pldm import PLDM
from lewm_cli.methods.prediction import Prediction
from lewm_cli.suggestion import nearest

METHODS: dict[str, type[Objective]] = {
    method.name: method
    for method in (
        LeWM,
        PLDM,
        Delta,
        Inverse,
        Prediction,
        ProprioPatchPrediction,
        PatchPrediction,
        GCBC,
        GCIVL,
        GCIQL,
    )
}

DEFAULT: str = LeWM.name
"""The method of configurations and weights that name none."""


def check_method(name: object) -> str:
    """Returns the name if it is in the table; else ValueError names the nearest one."""
    if not isinstance(name, str) or name not in METHODS:
        near = nearest(str(name).lower(), list(METHODS))
        meant = f"did you mean {near!r}?" if near else f"there is {', '.join(METHODS)}"
        raise ValueError(f"there is no method {name!r}; {meant}")
    return name
