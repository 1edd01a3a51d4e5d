"""Conditions on single values, as SQL with parameters. What a caller wrote is always a parameter, never SQL."""

from __future__ import annotations

from typing import Any

import msgspec

from otelbridge.logs.fields import FIELDS
from otelbridge.logs.tokens import tokens
from otelbridge.logs.tree import Condition, Literal, test_known, wildcards
from otelbridge.logs.writer import pack_id

__all__ = ["NEVER", "Sql", "escape_like", "member_json", "member_phrase", "on_choice", "on_id", "on_member", "on_number", "on_text"]

Sql = tuple[str, tuple[Any, ...]]

NEVER: Sql = ("0", ())

_ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# The object that a record has logged, as JSON text; NULL when it has logged none.
_OBJECT = "CASE WHEN r.layout = 'j' THEN r.text WHEN r.kind = 3 THEN r.extra END"
_MAX_PHRASE = 16


def on_text(sql: str, test: Condition) -> Sql:
    """A condition on a text, of this SQL expression. NULL meets none but is_null."""
    operation, values = test.operation, test.values
    first = values[0].text if values else ""
    if operation == "is_null":
        return f"({sql}) IS NULL", ()
    if operation == "exists":
        return f"({sql}) IS NOT NULL", ()
    if operation == "like" and len(wildcards(first)) > 1:
        return f"({sql}) LIKE ? ESCAPE '\\'", ("%".join([escape_like(piece) for piece in wildcards(first)]),)
    if operation in ("like", "same"):
        return f"({sql}) = ? COLLATE NOCASE", (first,)
    if operation in ("in", "not_in"):
        return _among(sql, operation, [v.text for v in values])
    if operation in ("eq", "neq"):
        return f"({sql}) {'=' if operation == 'eq' else '<>'} ?", (first,)
    if operation in _ORDER:
        return f"({sql}) {_ORDER[operation]} ?", (first,)
    if operation == "regex":
        return f"matches_pattern(?, 0, ({sql}))", (first,)
    # instr() reads the whole text; LIKE would ignore case.
    return f"instr(({sql}), ?) {'> 0' if operation == 'includes' else '= 1' if operation == 'starts_with' else '= 0'}", (first,)


def on_number(sql: str, test: Condition) -> Sql:
    """A condition on a number."""
    operation, values = test.operation, test.values
    if operation in ("is_null", "exists"):
        return on_text(sql, test)
    if operation == "class":
        low = int(values[0].number or 0) * 100
        return f"({sql}) BETWEEN ? AND ?", (low, low + 99)
    if operation == "like":
        return on_text(f"CAST(({sql}) AS TEXT)", test)
    numbers = [_plain(v.number) for v in values]
    if operation in ("in", "not_in"):
        return _among(sql, operation, numbers)
    sign = {"eq": "=", "neq": "<>"}.get(operation) or _ORDER[operation]
    return f"({sql}) {sign} ?", (numbers[0],)


def _among(sql: str, operation: str, values: list[Any]) -> Sql:
    choice = (msgspec.json.encode(values).decode(),)
    if operation == "in":
        return f"({sql}) IN (SELECT value FROM json_each(?))", choice
    # NULL is not in an empty list, says SQLite.
    return f"(({sql}) IS NOT NULL AND ({sql}) NOT IN (SELECT value FROM json_each(?)))", choice


def on_choice(sql: str, test: Condition) -> tuple[list[int], Sql]:
    """A condition on a field with few values, which are stored as numbers: those that meet it, and the condition."""
    field = FIELDS[test.field]
    chosen = [number for number, name in enumerate(field.choices) if test_known(name, field, test)]
    return chosen, (f"{sql} IN ({', '.join(str(number) for number in chosen)})", ())


def on_id(column: str, sql: str, test: Condition) -> Sql:
    """A condition on an id: a whole one is compared as it is stored, which its index knows."""
    if test.operation in ("eq", "same", "like") and len(wildcards(test.values[0].text)) == 1:
        text = test.values[0].text
        return f"{column} = ?", (pack_id(text.lower() if test.operation != "eq" else text),)
    return on_text(sql, test)


# ------------------------------------------------------------------------------------------------- members of objects


def member_json(path: str) -> Sql:
    """The JSON text of a member of the logged object; NULL when there is none, or when it is null."""
    whole = _path([path])
    parts = path.split(".")
    if len(parts) == 1:
        return f"nullif({whole[0]}, 'null')", whole[1]
    nested = _path(parts)
    return f"nullif(coalesce(nullif({whole[0]}, 'null'), {nested[0]}), 'null')", (*whole[1], *nested[1])


def _path(names: list[str]) -> Sql:
    # SQLite's paths know no escapes, and compare names as they stand in the JSON, with theirs.
    if all(name and name.isprintable() and not any(c in name for c in '"\\') for name in names):
        return f"({_OBJECT} -> ?)", ("$" + "".join([f'."{name}"' for name in names]),)
    return f"member({_OBJECT}, ?)", (msgspec.json.encode(names).decode(),)


def on_member(test: Condition) -> Sql:
    """A condition on a member of the logged object."""
    operation, values = test.operation, test.values
    json, parameters = member_json(test.field)
    if operation == "is_null":
        return f"{json} IS NULL", parameters
    if operation == "exists":
        return f"{json} IS NOT NULL", parameters
    if operation in ("eq", "in", "neq", "not_in"):
        found = [_equal(json, parameters, value) for value in values]
        condition = " OR ".join([sql for sql, _ in found]) or "0"
        bound = tuple(p for _, ps in found for p in ps)
        if operation in ("eq", "in"):
            return f"({condition})", bound
        return f"({json} IS NOT NULL AND NOT ifnull(({condition}), 0))", (*parameters, *bound)
    first = values[0]
    if operation in _ORDER and first.number is not None:
        sql = f"(json_type({json}) IN ('integer', 'real') AND ({json} ->> '$') {_ORDER[operation]} ?)"
        return sql, (*parameters, *parameters, _plain(first.number))
    if operation == "not_includes":
        sql = f"({json} IS NOT NULL AND NOT (json_type({json}) = 'text' AND instr({json} ->> '$', ?) > 0))"
        return sql, (*parameters, *parameters, *parameters, first.text)
    if operation == "like":
        glob = "*".join([_escape_glob(piece) for piece in wildcards(first.text)])
        return f"(json_type({json}) = 'text' AND ({json} ->> '$') GLOB ?)", (*parameters, *parameters, glob)
    inner, bound = on_text(f"{json} ->> '$'", test)
    at = (*bound, *parameters) if operation == "regex" else (*parameters, *bound)  # the pattern stands first there
    return f"(json_type({json}) = 'text' AND {inner})", (*parameters, *at)


def _equal(json: str, parameters: tuple[Any, ...], value: Literal) -> Sql:
    texts = [msgspec.json.encode(value.text).decode()]
    if value.bare and (value.text in ("true", "false") or value.text[:1] in ("{", "[")):
        texts.append(value.text)
    sql = f"{json} IN ({', '.join('?' * len(texts))})"
    if value.number is None:
        return sql, (*parameters, *texts)
    sql += f" OR (json_type({json}) IN ('integer', 'real') AND ({json} ->> '$') = ?)"
    return sql, (*parameters, *texts, *parameters, *parameters, _plain(value.number))


def member_phrase(test: Condition) -> tuple[str, ...]:
    """Tokens that stand next to each other in every record that meets the condition, for the index of words.

    A logged object's text is its JSON, so a name and its value are neighbours there: no index per member is needed.
    """
    if test.operation in ("is_null", "in") or not test.structured:
        return ()
    phrase = tokens(msgspec.json.encode(test.field.rpartition(".")[2]).decode())
    value = test.values[0] if test.values else None
    if test.operation == "eq" and value is not None and value.text[:1] not in ("{", "["):
        plain = value.number is None or (isinstance(value.number, int) and str(value.number) == value.text and len(value.text) <= 15)
        if plain:
            phrase += tokens(msgspec.json.encode(value.text).decode())
    return tuple(phrase[:_MAX_PHRASE])


def _plain(number: int | float | None) -> int | float | None:
    """As SQLite holds it: integers beyond 64 bits are floating point there."""
    return number if not isinstance(number, int) or -(1 << 63) <= number < 1 << 63 else float(number)


def escape_like(piece: str) -> str:
    """A text as a piece of a LIKE pattern, with \\ to escape."""
    return piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _escape_glob(piece: str) -> str:
    return piece.replace("[", "[[]").replace("?", "[?]")
