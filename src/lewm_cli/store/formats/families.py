"""The table of network families."""

from lewm_cli.config import NetworkConfig
from lewm_cli.store.formats.dinowm_family import DINOWM
from lewm_cli.store.formats.family import Family
from lewm_cli.store.formats.lewm_family import LEWM
from lewm_cli.store.keys import Naming

FAMILIES = (LEWM, DINOWM)


def family_of_kind(kind: object) -> Family:
    """The family of a model's class; the first for what is no model."""
    return next((family for family in FAMILIES if family.kind == kind), FAMILIES[0])


def family_of(sizes: NetworkConfig) -> Family | None:
    """The family of a network; None for one that no other tool has."""
    return next((family for family in FAMILIES if isinstance(sizes, family.sizes)), None)


def names_of(sizes: NetworkConfig) -> Naming:
    """The names of a network's tensors elsewhere; those of LeWM leave tensors of other networks as they are."""
    return (family_of(sizes) or LEWM).names
