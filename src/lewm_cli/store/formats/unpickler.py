"""A pickle machine that can build nothing but plain values and stand-ins: there is no import in it to reach.

Instructions are decoded by `pickletools.genops`, which only reads. Every value stays within the types of
`standins.Value`, so no instruction can touch an object of this process: BUILD fills the dictionary of a stand-in,
REDUCE and NEWOBJ go through `standins.construct`. Content of an opaque object is dropped.
"""

import pickletools
from typing import BinaryIO

from lewm_cli.store.formats.refused import DamagedError, ForeignError
from lewm_cli.store.formats.standins import (
    CapturedObject,
    Opaque,
    Storage,
    Value,
    construct,
    resolve,
    resolve_persistent,
)

MOST_INSTRUCTIONS = 200_000
"""A pickled model of the released size takes a quarter."""

LONGEST_STRING = 2**20
LONGEST_KEY = 1024
LONGEST_INTEGER = 128
"""Bits: torch's own magic number has 77."""

LARGEST_KEY = 2**32
"""Bound of numbers as keys and of places in the memo: larger ones can be made to collide in a dictionary."""

_PUSHES_ARGUMENT = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def unpickle(stream: BinaryIO, storages: dict[str, Storage]) -> Value:
    """Run one pickle in memory, up to its STOP; `storages` takes those that it mentions, by key."""
    machine = _Machine(storages)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= MOST_INSTRUCTIONS:
                raise DamagedError("its pickle is longer than that of any checkpoint")
            if opcode.name == "STOP":
                break
            machine.run(opcode.name, argument)
    # genops on garbage, a stack or a memo that is shorter than the pickle takes it for; no refusal is one of these
    except (ValueError, LookupError, OverflowError) as error:
        raise DamagedError("its pickle is garbled or ends early") from error
    if machine.below or len(machine.stack) != 1:
        raise DamagedError("its pickle leaves more or less than one object")
    return machine.stack[0]


class _Machine:
    """A stack, the stacks below its marks, and a memo; an empty one that is taken from raises LookupError."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self._storages = storages
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self._memo: dict[int, Value] = {}

    def run(self, name: str, argument: Value) -> None:
        """Carry out one instruction."""
        pop = self.stack.pop

        def push(value: Value) -> None:  # on the stack as it is by then
            self.stack.append(value)

        match name:
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT" | "PUT" | "MEMOIZE":
                place = len(self._memo) if name == "MEMOIZE" else _place(argument)
                self._memo[place] = self.stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                push(self._memo[_place(argument)])
            case _ if name in _PUSHES_ARGUMENT:
                push(_checked(argument))
            case _ if name in _CONSTANTS:
                push(_CONSTANTS[name])
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                pop()
            case "POP" | "POP_MARK":
                self._pop_to_mark()
            case "DUP":
                push(self.stack[-1])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple([pop() for _ in range(int(name[-1]))][::-1]))
            case "TUPLE":
                push(tuple(self._pop_to_mark()))
            case "EMPTY_LIST" | "EMPTY_SET" | "LIST":
                push(self._pop_to_mark() if name == "LIST" else [])
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [pop()] if name == "APPEND" else self._pop_to_mark()
                if isinstance(self.stack[-1], list):
                    self.stack[-1].extend(items)
                elif not isinstance(self.stack[-1], Opaque):
                    raise DamagedError("its pickle appends to something else than a list")
            case "EMPTY_DICT" | "DICT":
                items = self._pop_to_mark() if name == "DICT" else []
                push({})
                _fill(self.stack[-1], items)
            case "SETITEM" | "SETITEMS":
                items = [pop(), pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
                _fill(self.stack[-1], items)
            case "GLOBAL":
                push(resolve(str(argument).replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                last, module = pop(), pop()
                if not isinstance(last, str) or not isinstance(module, str):
                    raise ForeignError("names something by an object")
                push(resolve(f"{module}.{last}"))
            case "INST":
                arguments = tuple(self._pop_to_mark())
                push(construct(resolve(str(argument).replace(" ", ".", 1)), arguments))
            case "OBJ":
                target, *rest = self._pop_to_mark()
                push(construct(target, tuple(rest)))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                if name == "NEWOBJ_EX" and pop() != {}:
                    raise ForeignError("calls a class with keywords")
                given, target = pop(), pop()
                push(construct(target, given))
            case "BUILD":
                state = pop()
                _build(self.stack[-1], state)
            case "BINPERSID":
                push(resolve_persistent(pop(), self._storages))
            case _:
                raise ForeignError(f"uses the instruction {name}")

    def _pop_to_mark(self) -> list[Value]:
        below = self.below.pop()
        items, self.stack = self.stack, below
        return items


def _fill(target: Value, items: list[Value]) -> None:
    if isinstance(target, Opaque):
        return
    if not isinstance(target, dict) or len(items) % 2:
        raise DamagedError("its pickle fills something else than a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Other keys would be hashed and compared, which a stranger can make take for ever.
        if not ((type(key) is str and len(key) <= LONGEST_KEY) or (type(key) is int and abs(key) < LARGEST_KEY)):
            raise DamagedError("a dictionary in its pickle has a key that is no name and no number")
        target[key] = value


def _build(target: Value, state: Value) -> None:
    if isinstance(target, Opaque):
        return
    if not isinstance(state, dict):
        raise DamagedError("an object in its pickle has a state that is no dictionary")
    if isinstance(target, CapturedObject) and not target.state:
        target.state = state
    elif not isinstance(target, dict):  # a state dict carries `_metadata`, which is not needed
        raise ForeignError("sets the state of something that has none")


def _checked(argument: Value) -> Value:
    if isinstance(argument, str | bytes) and len(argument) > LONGEST_STRING:
        raise DamagedError("its pickle holds a longer text than any checkpoint's")
    if isinstance(argument, int) and argument.bit_length() > LONGEST_INTEGER:
        raise DamagedError("its pickle holds a larger number than any checkpoint's")
    return argument


def _place(argument: Value) -> int:
    if not isinstance(argument, int) or not 0 <= argument < LARGEST_KEY:
        raise DamagedError("its pickle remembers something in no place")
    return argument
