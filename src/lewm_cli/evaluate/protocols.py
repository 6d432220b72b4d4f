"""Finds named protocols, changes them by settings, and remarks on unusual ones."""

from collections.abc import Iterable, Iterator
from typing import Any

from lewm_cli.config import OWN_FIELDS, EvalProtocol, Expectation, Layer, merge_layers
from lewm_cli.control import nondeterminism
from lewm_cli.errors import UsageError
from lewm_cli.suggestion import command, offer
from lewm_cli.tasks import Task

HELD_OUT = "heldout"
"""The protocol where it is known which episodes a run was never trained on."""

RELEASE = "release"
"""The protocol where that is not known."""


def find_protocol(task: Task, name: str, settings: tuple[Layer, ...] = ()) -> EvalProtocol:
    """A task's protocol with settings laid over it, the later over the earlier; it says which of them it differs in.

    Raises:
        UsageError: the task has none of this name, or what comes out cannot mean anything.
    """
    if name not in task.protocols:
        raise UsageError(f"{task.name} has no protocol {name!r}; {offer(name, task.protocols, command('presets'))}")
    own = Layer(f"protocol {task.name}/{name}", task.protocols[name] | {"name": name})
    for layer in settings:
        refused = next((key for key in OWN_FIELDS if key in layer.tree), None)
        if refused:
            raise UsageError(
                f"{layer.source}: a protocol's {refused} is its own; choose another protocol with --protocol"
            )
    unchanged = EvalProtocol.build(own.tree, own.source)
    merged = merge_layers([own, *settings])
    if merged.tree.get("actor") == "prior":
        refuse_planning("the prior alone", settings, references=False)
    protocol = EvalProtocol.build(merged.tree, merged.source)
    if protocol.gate not in task.success_criteria:
        raise UsageError(f"{task.name} has no gate {protocol.gate!r}; choose {' or '.join(task.success_criteria)}")
    if protocol.actor == "prior":
        protocol = protocol.model_copy(update={"planner": None})
        unchanged = unchanged.model_copy(update={"planner": None})
    before, after = (_flat(one.model_dump()) for one in (unchanged, protocol))
    return protocol.model_copy(update={"changed": tuple(key for key in after if after[key] != before[key])})


def refuse_planning(acting: str, settings: Iterable[Layer], *, references: bool) -> None:
    """Raises a UsageError if something about planning was typed for what acts without; the error begins with that."""
    typed = [layer.source for layer in settings if "planner" in layer.tree]
    if references:
        typed.append("--references")
    if typed:
        raise UsageError(
            f"{acting} acts in one forward pass per step and plans nothing, so {typed[0]} means nothing to it; "
            "leave it out"
        )


def task_protocols(task: Task) -> list[EvalProtocol]:
    """Every protocol of a task, in the order of its file."""
    return [find_protocol(task, name) for name in task.protocols]


def remarks(task: Task, protocol: EvalProtocol, frameskip: int) -> Iterator[str]:
    """Remark on unusual settings of a task's protocol, and say what to expect of them."""
    offset, planner = protocol.offset, protocol.planner
    expected = [Expectation.build(one, f"protocols of {task.name}") for one in task.expectations]
    known = [one for one in expected if one.offset <= offset]
    if known:
        yield f"{task.name} with goals {offset} steps ahead: {max(known, key=lambda one: one.offset).text}"
    if protocol.budget < offset:
        yield (
            f"{protocol.budget} steps are allowed for goals {offset} steps ahead: the recorded way there would not "
            "do; expect little more than what starts near its goal"
        )
    if planner is None:
        return
    if remark := nondeterminism(planner):
        yield remark
    reach = planner.horizon * frameskip
    if reach < offset and not planner.anchors:
        yield (
            f"plans reach {reach} steps ahead and goals lie {offset} ahead: what counts is how near a plan comes, "
            f"and that may lead astray; expect less than with goals {reach} ahead"
        )


def _flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted keys and values of nested tables."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found
