"""A pickle machine that can build nothing but plain values and stand-ins: there is no import in it to reach.

Instructions are decoded by `pickletools.genops`, which only reads. Every value stays within the types of
`standins.Value`, so no instruction can touch an object of this process: BUILD fills the dictionary of a stand-in,
REDUCE and NEWOBJ go through `standins.construct`. What is put into an opaque object is dropped.
"""

import pickletools
from collections.abc import Callable
from typing import BinaryIO, ClassVar

from lewm_cli.store.formats.refusals import DamagedError, ForeignError
from lewm_cli.store.formats.standins import Captured, Opaque, Value, construct, resolve

MOST_INSTRUCTIONS = 200_000
"""A pickled model of the released size takes a quarter."""

LARGEST_PICKLE = 16 * 2**20
"""Bytes without the tensors; a pickled model of the released size takes 0.1 MB."""

LONGEST_STRING = 2**20
LONGEST_KEY = 1024
LONGEST_INTEGER = 128
"""Bits: torch's own magic number has 77."""

LARGEST_KEY = 2**32
"""Of numbers as keys and of places in the memo: larger ones can be made to collide in a dictionary."""

_PUSHES_ARGUMENT = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MEMO_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_MEMO_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
_IGNORED = frozenset({"PROTO", "FRAME"})


class PickleStream:
    """The part of a file that a pickle may take: no read allocates more than is left of it.

    Args:
        file: positioned at the first instruction.
        limit: bytes from there on.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._left = min(limit, LARGEST_PICKLE)

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        return self._count(self._file.read(max(0, min(size, self._left))))

    def readline(self) -> bytes:
        """Up to and including the next line feed."""
        return self._count(self._file.readline(self._left))

    def _count(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


def unpickle(stream: PickleStream, persistent: Callable[[Value], Value]) -> Value:
    """Run one pickle, up to its STOP.

    Args:
        stream: where the instructions are.
        persistent: what a persistent id stands for (a storage).

    Raises:
        ForeignError: it refers to something that is not on the list; nothing was run.
        DamagedError: it is no pickle, ends early, or is longer than any checkpoint's.
    """
    machine = _Machine(persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count >= MOST_INSTRUCTIONS:
                raise DamagedError("its pickle is longer than that of any checkpoint")
            if opcode.name == "STOP":
                break
            machine.run(opcode.name, argument)
        return machine.result()
    except (ValueError, IndexError, OverflowError) as error:  # what genops says of garbage; RefusalError is none
        raise DamagedError("its pickle is garbled or ends early") from error


class _Machine:
    def __init__(self, persistent: Callable[[Value], Value]) -> None:
        self._persistent = persistent
        self._stack: list[Value] = []
        self._below: list[list[Value]] = []
        self._memo: dict[int, Value] = {}

    def result(self) -> Value:
        """The value left by a pickle that has stopped."""
        if self._below or len(self._stack) != 1:
            raise DamagedError("its pickle leaves more or less than one object")
        return self._stack[0]

    def run(self, name: str, argument: Value) -> None:
        """Carry out one instruction."""
        if name in _IGNORED:
            return
        if name in _MEMO_PUTS:
            self._memo[_place(argument)] = self._top()
        elif name in _MEMO_GETS:
            place = _place(argument)
            if place not in self._memo:
                raise DamagedError("its pickle recalls what it never remembered")
            self._stack.append(self._memo[place])
        elif name in _PUSHES_ARGUMENT:
            self._stack.append(_checked(argument))
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EXTENSIONS:
            raise ForeignError("uses the extension registry")
        elif name in self._INSTRUCTIONS:
            self._INSTRUCTIONS[name](self, argument)
        else:
            raise ForeignError(f"uses the instruction {name}")

    def _top(self) -> Value:
        if not self._stack:
            raise DamagedError("its pickle runs out of objects")
        return self._stack[-1]

    def _pop(self) -> Value:
        value = self._top()
        self._stack.pop()
        return value

    def _pop_to_mark(self) -> list[Value]:
        if not self._below:
            raise DamagedError("its pickle runs out of objects")
        items, self._stack = self._stack, self._below.pop()
        return items

    def _mark(self, _: Value) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._stack.append(tuple(reversed(items)))

    def _append(self, items: list[Value]) -> None:
        target = self._top()
        if isinstance(target, Opaque):
            return
        if not isinstance(target, list):
            raise DamagedError("its pickle appends to something else than a list")
        target.extend(items)

    def _set_items(self, items: list[Value]) -> None:
        self._fill(self._top(), items)

    def _fill(self, target: Value, items: list[Value]) -> None:
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise DamagedError("its pickle fills something else than a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys would be hashed and compared, which a stranger can make take for ever.
            if not ((type(key) is str and len(key) <= LONGEST_KEY) or (type(key) is int and abs(key) < LARGEST_KEY)):
                raise DamagedError("a dictionary in its pickle has a key that is no name and no number")
            target[key] = value

    def _dictionary(self, _: Value) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _list(self, _: Value) -> None:
        items = self._pop_to_mark()
        self._stack.append(items)

    def _marked_tuple(self, _: Value) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def _set_item(self, _: Value) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _set_marked_items(self, _: Value) -> None:
        items = self._pop_to_mark()
        self._set_items(items)

    def _append_one(self, _: Value) -> None:
        self._append([self._pop()])

    def _append_marked(self, _: Value) -> None:
        items = self._pop_to_mark()
        self._append(items)

    def _global(self, argument: Value) -> None:
        self._stack.append(resolve(".".join(str(argument).split(" ", 1))))

    def _stack_global(self, _: Value) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ForeignError("names something by an object")
        self._stack.append(resolve(f"{module}.{name}"))

    def _instance(self, argument: Value) -> None:
        arguments = tuple(self._pop_to_mark())
        self._stack.append(construct(resolve(".".join(str(argument).split(" ", 1))), arguments))

    def _object(self, _: Value) -> None:
        target, *arguments = self._pop_to_mark() or [None]
        self._stack.append(construct(target, tuple(arguments)))

    def _reduce(self, _: Value) -> None:
        arguments, target = self._pop(), self._pop()
        self._stack.append(construct(target, arguments))

    def _new_object_with_keywords(self, _: Value) -> None:
        keywords, arguments, target = self._pop(), self._pop(), self._pop()
        if keywords != {}:
            raise ForeignError("calls a class with keywords")
        self._stack.append(construct(target, arguments))

    def _build(self, _: Value) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Opaque):
            return
        if not isinstance(state, dict):
            raise DamagedError("an object in its pickle has a state that is no dictionary")
        if isinstance(target, Captured) and not target.state:
            target.state = state
        elif not isinstance(target, dict):  # a state dict carries `_metadata`, which is not needed
            raise ForeignError("sets the state of something that has none")

    def _persistent_id(self, _: Value) -> None:
        self._stack.append(self._persistent(self._pop()))

    def _memoize(self, _: Value) -> None:
        self._memo[len(self._memo)] = self._top()

    def _duplicate(self, _: Value) -> None:
        self._stack.append(self._top())

    _INSTRUCTIONS: ClassVar[dict[str, Callable[["_Machine", Value], object]]] = {
        "MARK": _mark,
        "POP": lambda self, _: self._pop() if self._stack else self._pop_to_mark(),
        "POP_MARK": lambda self, _: self._pop_to_mark(),
        "DUP": _duplicate,
        "MEMOIZE": _memoize,
        "EMPTY_LIST": lambda self, _: self._stack.append([]),
        "EMPTY_DICT": lambda self, _: self._stack.append({}),
        "EMPTY_SET": lambda self, _: self._stack.append([]),
        "TUPLE": _marked_tuple,
        "TUPLE1": lambda self, _: self._tuple(1),
        "TUPLE2": lambda self, _: self._tuple(2),
        "TUPLE3": lambda self, _: self._tuple(3),
        "LIST": _list,
        "DICT": _dictionary,
        "APPEND": _append_one,
        "APPENDS": _append_marked,
        "ADDITEMS": _append_marked,
        "SETITEM": _set_item,
        "SETITEMS": _set_marked_items,
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "INST": _instance,
        "OBJ": _object,
        "REDUCE": _reduce,
        "NEWOBJ": _reduce,
        "NEWOBJ_EX": _new_object_with_keywords,
        "BUILD": _build,
        "BINPERSID": _persistent_id,
    }


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
