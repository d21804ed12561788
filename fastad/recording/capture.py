"""What a function reads from outside its arguments, so that a replay never uses a stale value.

Four kinds of values are read:
- code: functions with the same code are the same function, if what they refer to is;
- numbers in closures, globals, attributes and containers: their values are part of the recording's key, until a
  number has been seen to change, and is an input (`with_changing`);
- arrays: shape, dtype and layout are part of the key, and their elements are read again at every replay;
- settings that operators read while they are recorded (`fastad.recording.settings`): their choices are part of the key.

`OutsideState` walks from the function to everything that its code can reach (`fastad.recording.walk`). It makes the key
and lists the places that were read. Comparing these places later is much faster than walking again.
"""

import builtins
import types
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from fastad.recording.code_names import code_now
from fastad.recording.comparing import comparison
from fastad.recording.identity import same_elements, same_items
from fastad.recording.keys import Key
from fastad.recording.outside_numbers import ChangingNumber, NumberPlace
from fastad.recording.settings import Setting
from fastad.recording.walk import MISSING, Walk, read_place


class OutsideState(Walk):
    """What functions (`roots`) can read from outside their arguments, at one moment.

    `key` stands for all of it: equal keys mean that a recording of the one function is a recording of the other, with
    the other's `arrays` in the places of its own. `changing` are the numbers that are inputs; their arrays come last.
    """

    def __init__(self, roots: Iterable[Any], settings: Iterable[Setting] = ()) -> None:
        super().__init__(roots)
        self.changing: tuple[ChangingNumber, ...] = ()
        self._variants: dict[frozenset[int], OutsideState] = {}  # with some of the numbers as inputs
        self._own_places = self._places
        self.code_key = self._key_of(range(len(self.numbers)))
        self._set(settings)

    @property
    def bindings(self) -> list[tuple[Any, Any, Any]]:
        """(cell, None, value) or (namespace, name, value) for everything that was read by a name; (dict, key, value),
        (list, index, value) and the like for functions in other places, and for tuples that may hold some."""
        return [*self._places, *self.functions]

    @property
    def has_values(self) -> bool:
        """Whether anything other than modules and functions was read."""
        if self.must_be_walked or self.shapes or self._has_objects:
            return True
        code = types.ModuleType | types.FunctionType
        return any(not isinstance(value, code) for *_, value in self._places)

    def unchanged(self) -> bool:
        """Whether a new walk would give the same key. False may also mean that only a walk can tell."""
        if self.must_be_walked:
            return False
        for holder, name, value in self._places:
            if (holder.get(name, MISSING) if type(holder) is dict else read_place(holder, name)) is not value:
                return False
        for space, name, value in self.builtins:
            if name in space or vars(builtins).get(name) is not value:
                return False
        for function, code in self.codes:
            if code_now(function) is not code:
                return False
        for a, shape in self.shapes:
            if a.shape != shape:
                return False
        return not self._has_objects or (self._same_objects() and self._same_containers())

    def _same_objects(self) -> bool:
        for value, kind in self.kinds:
            if type(value) is not kind:
                return False
        for names, count in self.classes:
            if len(names) != count:
                return False
        return not self._looks_at_layouts or self.has_same_layouts()

    def _same_containers(self) -> bool:
        return all(same_elements(*x) for x in self.lists) and all(same_items(*x) for x in self.dicts)

    def comparison(self) -> Callable[[], bool]:
        """`not unchanged()` as a function that is fast, for a state that is compared many times."""
        return comparison(self, self._places) or (lambda: not self.unchanged())

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────
    def _key_of(self, constants: Iterable[int]) -> Key:
        """The key without the settings, where these numbers are constants."""
        if not self.numbers:
            return self.structure
        return Key(self.structure, *[(k, self.numbers[k].key) for k in constants])

    def _copy(self) -> "OutsideState":
        found = object.__new__(OutsideState)
        found.__dict__.update(self.__dict__)
        return found

    def with_changing(self, numbers: frozenset[int]) -> "OutsideState":
        """This state with these of its numbers as inputs."""
        if not numbers:
            return self
        found = self._variants.get(numbers)
        if found is None:
            found = self._copy()
            places = [(k, self.numbers[k]) for k in sorted(numbers)]
            found.changing = tuple([ChangingNumber(k, place, np.array(place.value)) for k, place in places])
            found.arrays = [*self.arrays, *[x.array for x in found.changing]]
            found.code_key = self._key_of(k for k in range(len(self.numbers)) if k not in numbers)
            found._set_choices()
            self._variants[numbers] = found
        return found

    def without_changing(self) -> "OutsideState":
        """This state with all of its numbers as constants."""
        found = self._copy()
        found.changing, found.arrays = (), self.arrays[: len(self.arrays) - len(self.changing)]
        found.code_key = self._key_of(range(len(self.numbers)))
        found._set_choices()
        return found

    def renumbered(self) -> "OutsideState | None":
        """The state now, if nothing but numbers has changed: it needs no walk."""
        if self.must_be_walked or not self.numbers:
            return None
        now = [place.now(MISSING) for place in self.numbers]
        new = [(place, x) for place, x in zip(self.numbers, now, strict=True) if place.value is not x]
        if any(type(x) is not type(place.value) or place.position is not None for place, x in new):
            return None
        changed = {(id(place.holder), place.name): x for place, x in new}
        found = self._copy()
        found.numbers = [
            place if place.value is x else NumberPlace(place.holder, place.name, x)
            for place, x in zip(self.numbers, now, strict=True)
        ]
        found._own_places = [(x, name, changed.get((id(x), name), value)) for x, name, value in self._own_places]
        found.lists = [
            (x, tuple([changed.get((id(x), k), old) for k, old in enumerate(values)])) for x, values in self.lists
        ]
        found.dicts = [
            (x, keys, tuple([changed.get((id(x), key), old) for key, old in zip(keys, values, strict=True)]))
            for x, keys, values in self.dicts
        ]
        found._variants = {}
        found.code_key = found._key_of(range(len(found.numbers)))
        found._places = [*found._own_places, *self.settings]
        found._set_choices()
        return found if found.unchanged() else None

    def written(self) -> list[int]:
        """The numbers in whose places something else is now."""
        return [k for k, place in enumerate(self.numbers) if place.now(MISSING) is not place.value]

    # ── settings ─────────────────────────────────────────────────────────────────────────────────────────────
    def _set(self, settings: Iterable[Setting]) -> None:
        """Add the current choices of these settings. They are compared like other places."""
        self.settings = tuple([(s.variable, s.default, s.now) for s in settings])
        self._places = [*self._own_places, *self.settings]
        self._set_choices()

    def _set_choices(self) -> None:
        self.key: Hashable = (self.code_key, *[choice for *_, choice in self.settings])

    def with_settings(self, settings: Iterable[Setting]) -> "OutsideState":
        """A copy with the current choices of these settings."""
        found = self._copy()
        found._variants = {}
        found._set(settings)
        return found
