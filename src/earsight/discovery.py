"""A file in `methods/` or `extractors/` is the registration of what it holds.

The file's name is the name of the kind: `methods/tnn.py` holds one public class whose `name` is
"tnn". Third parties add kinds through the entry-point groups "earsight.methods" and
"earsight.extractors". Names are listed without importing anything; only the kind that is asked for
is imported.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from earsight.errors import InputError, UnknownNameError


@cache
def names(package: str) -> dict[str, str]:
    """Return the kinds of one package ("methods" or "extractors") as name → where to import it."""
    path = importlib.import_module(f"earsight.{package}").__path__
    found = {
        module.name: f"earsight.{package}.{module.name}"
        for module in pkgutil.iter_modules(path)
        if not module.ispkg and not module.name.startswith("_")
    }
    for point in entry_points(group=f"earsight.{package}"):
        found.setdefault(point.name, point.module)
    return dict(sorted(found.items()))


_check_plugin: ContextVar[Callable[[str, str], None]] = ContextVar(
    "check_plugin", default=lambda _name, _module: None
)


@contextmanager
def checking_plugins(check: Callable[[str, str], None]) -> Iterator[None]:
    """Call `check(name, module)` before a third party's kind is imported; it may raise."""
    token = _check_plugin.set(check)
    try:
        yield
    finally:
        _check_plugin.reset(token)


def load(package: str, name: str) -> type[Any]:
    """Import and return the class of one kind.

    Raises:
        UnknownNameError: No file and no entry point has that name; the names are listed.
    """
    known = names(package)
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError(package.removesuffix("s"), name, known)
    if not known[name].startswith("earsight."):
        _check_plugin.get()(name, known[name])
    module = importlib.import_module(known[name])
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and getattr(value, "name", None) == name
    ]
    if len(kinds) != 1:
        raise InputError(
            f"{known[name]} must hold exactly one class with name = {name!r}; "
            f"it holds {len(kinds)}."
        )
    kind: type[Any] = kinds[0]
    return kind


def exported(package: str, name: str, others: Mapping[str, str]) -> Any:
    """Return what `earsight.methods` or `earsight.extractors` exports, importing it now.

    Args:
        package: "methods" or "extractors".
        name: The class of a kind, such as "ClusterCCA" in `cluster_cca.py`; or one of `others`.
        others: What else is exported → the module of the package in which it stands.

    Raises:
        AttributeError: There is no such name.
    """
    if name in others:
        return getattr(importlib.import_module(f"earsight.{package}.{others[name]}"), name)
    for kind in names(package) if not name.startswith("_") else ():
        if kind.replace("_", "") == name.lower() and load(package, kind).__name__ == name:
            return load(package, kind)
    raise AttributeError(f"module 'earsight.{package}' has no attribute {name!r}")


def make(package: str, name: str, parameters: dict[str, Any]) -> Any:
    """Make one kind with checked hyper-parameters.

    Strings are read as the field's type, so that the command line's `soundnet:layer=conv5` and a
    saved model's JSON take the same road as a Python call. A list is joined by x there, since the
    comma parts hyper-parameters: `dcca:hidden=512x256`, and `hidden=` for the empty one.

    Raises:
        UnknownNameError: Unknown kind.
        InputError: Unknown hyper-parameter, or a value that its type refuses.
    """
    kind = load(package, name)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    checked = {}
    for key, value in parameters.items():
        if key not in fields:
            raise InputError(
                f"{name} has no hyper-parameter {key!r}. It has: {', '.join(fields) or 'none'}."
            )
        checked[key] = _read(name, key, fields[key].type, value)
    return kind(**checked)


def _read(kind: str, key: str, annotation: Any, value: Any) -> Any:
    if isinstance(value, str) and means_none(annotation, value):
        return None
    wrong = f"`{key}` of {kind} must be {_in_words(annotation)}; got {value!r}."
    allowed = {annotation, *_members(annotation)}
    if isinstance(value, bool) and allowed & {int, float} and bool not in allowed:
        raise InputError(wrong)  # pydantic would read True as 1
    if isinstance(value, str) and _LIST in allowed:
        wrong = f"`{key}` of {kind} must be {_in_words(annotation)}, joined by x; got {value!r}."
        value = value.split("x") if value else ()
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise InputError(wrong) from error


def means_none(annotation: Any, value: str) -> bool:
    """Whether a text stands for None, where the type allows that."""
    return value in ("None", "none") and type(None) in _members(annotation)


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union; none for any other type."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _in_words(annotation: Any) -> str:
    """Say what a type allows.

    >>> _in_words(float | Literal["auto"])
    "a number, or 'auto'"
    >>> _in_words(tuple[int, ...] | None)
    'a list of whole numbers, or None'
    """
    if members := _members(annotation):
        return _listed(map(_in_words, members))
    if get_origin(annotation) is Literal:
        return _listed(map(repr, get_args(annotation)))
    if annotation in _WORDS:
        return _WORDS[annotation]
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)}, or {last}" if others else last


_LIST = tuple[int, ...]
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    type(None): "None",
    _LIST: "a list of whole numbers",
}


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Split the command line's form of a kind into name and hyper-parameters.

    >>> parse_spec("soundnet:layer=conv5")
    ('soundnet', {'layer': 'conv5'})
    >>> parse_spec("dcca:hidden=512x256,dropout=0.5")
    ('dcca', {'hidden': '512x256', 'dropout': '0.5'})
    >>> parse_spec("cca")
    ('cca', {})
    """
    name, _, rest = spec.partition(":")
    parameters = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise InputError(
                f"{spec!r} must read name or name:key=value,key=value; {part!r} has no '='."
            )
        parameters[key] = value
    return name, parameters
