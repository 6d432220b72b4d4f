"""What plans took, in words."""

UNITS = (("TFLOPs", 1e12), ("GFLOPs", 1e9), ("MFLOPs", 1e6))
"""Of operations, the largest first."""


def spent_per_plan(seconds: float, iterations: float | None, flops: float | None) -> str:
    """What a plan took on average: "30 iterations, 2.61 GFLOPs and 0.140 s per plan".

    Args:
        seconds: of wall time.
        iterations: of the solver; None if a result does not tell.
        flops: operations; None if a result does not tell.
    """
    counted = [] if iterations is None else [f"{iterations:.3g} iterations"]
    if flops is not None:
        counted.append(_operations(flops))
    return f"{', '.join(counted)} and {seconds:.3f} s per plan" if counted else f"{seconds:.3f} s per plan"


def _operations(flops: float) -> str:
    unit, size = next(((unit, size) for unit, size in UNITS if flops >= size), UNITS[-1])
    return f"{flops / size:.3g} {unit}"
