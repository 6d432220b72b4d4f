"""Chooses the camera and the dimensions of actions that were asked for, of those that a source has."""

from collections.abc import Mapping, Sequence

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.source import Asked
from lewm_cli.suggestion import command, few, offer


def chosen_camera(name: str, cameras: Mapping[str, str], asked: Asked) -> str:
    """Choose the camera that was asked for by its whole name or a last part that only it has; else the only one.

    Args:
        name: of the source, as it was typed.
        cameras: the size of the frames in words, by the name of each.

    Raises:
        UsageError: there are several, and none was chosen, or one that is not among them.
        LewmError: there is none.
    """
    listed = few(f"{camera} ({size})" for camera, size in cameras.items())
    if not cameras:
        raise LewmError(f"{name} has no camera, and a world model learns from frames; import a recording with frames")
    lasts = {camera: camera.replace("/", ".").rpartition(".")[2] for camera in cameras}
    if asked.camera is None:
        if len(cameras) == 1:
            return next(iter(cameras))
        first, last = next(iter(lasts.items()))
        shortest = last if list(lasts.values()).count(last) == 1 else first
        like = command("import", name, "--camera", shortest, "--name", f"robot/{last}")
        raise UsageError(f"{name} has {len(cameras)} cameras, {listed}; import one after the other, like: {like}")
    meant = [camera for camera in cameras if asked.camera in (camera, lasts[camera])]
    if asked.camera in cameras or len(meant) == 1:
        return asked.camera if asked.camera in cameras else meant[0]
    if meant:
        raise UsageError(f"--camera {asked.camera} may be any of {', '.join(meant)} in {name}; write the whole name")
    near = offer(asked.camera, [*cameras, *lasts.values()], command("import", name, "--dry-run"))
    raise UsageError(f"{name} has no camera {asked.camera!r}, but {listed}; {near}")


def chosen_actions(name: str, names: Sequence[str], width: int, asked: Asked) -> list[int]:
    """Choose the dimensions of actions that were asked for, in the order in which they were; all if none was.

    Args:
        name: of the source, as it was typed.
        names: of all dimensions; empty where the source names none.
        width: number of them.

    Raises:
        UsageError: one of them is not there, or stands twice.
    """
    if asked.action and not names:
        raise UsageError(f"{name} does not name its action dimensions, so that none can be chosen; leave out --action")
    for action in asked.action:
        if action not in names:
            near = offer(action, names, command("import", name, "--dry-run"))
            raise UsageError(f"{name} has no action dimension {action!r}; {near}")
    if len(set(asked.action)) < len(asked.action):
        raise UsageError(f"--action {','.join(asked.action)} names a dimension twice; name each once")
    return [names.index(action) for action in asked.action] or list(range(width))
