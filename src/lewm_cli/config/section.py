"""The base of every configuration model: frozen, and an unknown key is an error with the nearest match."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lewm_cli.errors import UsageError
from lewm_cli.suggestion import nearest


class Section(BaseModel):
    """A group of settings. Unknown keys are refused; values are checked; instances never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def build(cls, tree: dict[str, Any], source: str) -> Self:
        """Validate nested tables as TOML gives them; `source` is their place in words, for the error.

        Raises:
            UsageError: an unknown key (with the nearest known one) or a value out of range.
        """
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UsageError(f"{cls._explain(error, tree)} (in {source})") from error

    @classmethod
    def keys(cls, tree: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
        """All dotted keys under this section, as `--set` takes them; some depend on what a tree sets already."""
        found = []
        for key, kind in cls.types(tree).items():
            if isinstance(kind, type) and issubclass(kind, Section):
                found += [f"{key}.{rest}" for rest in kind.keys()]  # noqa: SIM118
            else:
                found.append(key)
        return found

    @classmethod
    def types(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The type of every field; a section overrides this where one depends on what a tree sets."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}

    @classmethod
    def unknown(cls, key: str, tree: Mapping[str, Any]) -> str:
        """Says that there is no such setting; a section overrides this where another tree would have it."""
        near = nearest(key, cls.keys(tree))
        return f"unknown setting {key!r}" + (f"; did you mean {near!r}?" if near else "")

    @classmethod
    def _explain(cls, error: ValidationError, tree: Mapping[str, Any]) -> str:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            return cls.unknown(key, tree)
        if first["type"] == "value_error":
            return f"{key + ': ' if key else ''}{first['ctx']['error']}"
        if first["type"] == "model_type":
            inside = [known for known in cls.keys(tree) if known.startswith(f"{key}.")]
            return f"{key} is a group of settings; set one of {', '.join(inside[:3])}, ..."
        if first["type"] in ("string_pattern_mismatch", "string_type") and key.startswith("schedule."):
            return f"{key} = {first['input']!r} is not of the form '10 epochs' or '1500 steps'"
        wrong, known, (*before, last) = [first], cls.keys(tree), first["loc"] or ("",)
        if isinstance(last, str) and key not in known and (setting := key.rpartition(".")[0]) in known:
            # It may be of several types, and `last` names one of them.
            key, wrong = setting, [one for one in error.errors() if [*one["loc"][:-1]] == before]
        problem = ", or ".join(one["msg"][0].lower() + one["msg"][1:] for one in wrong)
        return f"{key} = {first['input']!r}: {problem}" if key else problem


def unreadable(error: Exception) -> str:
    """Say in one clause why something stored cannot be read: the first field that this version has otherwise."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    first = error.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    problem = said[0].lower() + said[1:]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {problem}" if place else problem
