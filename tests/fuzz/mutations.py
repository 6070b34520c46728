"""What is done to a file that was whole: to its bytes, to the structure of its JSON, to the columns of its Parquet."""

import copy
import io
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Mutate = Callable[[random.Random, bytes], bytes]

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 10**30, 1.5, 1e308, float("nan"), float("inf"), "", "x", "../x", "/etc/x"),
    *([], {}, [1], [[]], {"a": 1}, "é", "\ud800", "\x00", "1" * 5000),
)


def of_bytes(*words: bytes) -> Mutate:
    """Bytes flipped, cut, doubled and overwritten, also by whole numbers and by words of the format."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 10))):
            at, length = rng.randrange(len(changed) + 1), rng.choice((1, 2, 4, 8, 16, 64, 512))
            kind = rng.randrange(8 if words else 6)
            if kind == 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            elif kind == 1:
                size = rng.choice((2, 4, 8))
                top = 1 << 8 * size
                some = rng.randrange(top), rng.randrange(300), top - rng.randrange(1, 300)
                number = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, *some)) % top
                changed[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))
            elif kind == 2:
                del changed[at : at + length]
            elif kind == 3:
                changed[at:at] = changed[(start := rng.randrange(len(changed) + 1)) : start + length]
            elif kind == 4 and rng.random() < 0.3:
                del changed[at:]
            elif kind in (4, 5):
                changed[at:at] = rng.randbytes(rng.randrange(1, 20))
            else:
                word = rng.choice(words)
                changed[at : at + len(word) * (kind - 6)] = word
        return bytes(changed)

    return mutate


def structure(rng: random.Random, value: Any) -> Any:
    """A value that JSON holds, with one of its members gone, renamed or exchanged for something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.15:
            return {name: member for name, member in value.items() if name != key}
        if kind < 0.25:
            return {**value, f"{key}2": rng.choice(ODD)}
        return {**value, key: structure(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], structure(rng, value[at]), *value[at + 1 :]]
    return copy.deepcopy(rng.choice(ODD))


def _text(rng: random.Random, value: Any) -> bytes:
    text = json.dumps(value)
    kind = rng.random()
    if kind < 0.02:
        text = "[" * rng.choice((100, 100_000)) + text
    elif kind < 0.04:
        text = "\ufeff" + text
    data = text.encode("utf-16" if 0.04 < kind < 0.05 else "utf-8", "surrogatepass")
    return of_bytes()(rng, data) if kind > 0.9 else data


def of_json(rng: random.Random, data: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # broken before
        return of_bytes()(rng, data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = structure(rng, value)
    return _text(rng, value)


def of_json_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at : at + 1] = [of_json(rng, lines[at])] * rng.choice((1, 1, 1, 0, 2))
    return b"\n".join(lines) + b"\n" * rng.choice((0, 1, 1, 1))


def of_table(separator: bytes) -> Mutate:
    """Cells, rows and the header of a CSV."""
    odd = [b"", b"0", b"-1", b"nan", b"1e309", b"x", b"../x", b'"', b'"\n"', b"\x00", b"\xff", b"9" * 30, b"a" * 70_000]

    def mutate(rng: random.Random, data: bytes) -> bytes:
        rows = [line.split(separator) for line in data.splitlines()]
        for _ in range(rng.choice((1, 1, 2, 5))):
            row = rng.choice(rows)
            kind = rng.random()
            if kind < 0.6 and row:
                row[rng.randrange(len(row))] = rng.choice(odd)
            elif kind < 0.7 and row:
                row.pop(rng.randrange(len(row)))
            elif kind < 0.8:
                row.append(rng.choice(odd))
            elif kind < 0.9:
                rows.append(list(row))
            elif len(rows) > 1:
                rows.remove(row)
        return b"\n".join(separator.join(row) for row in rows) + b"\n"

    return mutate


def of_parquet(rng: random.Random, data: bytes) -> bytes:
    """Columns gone, emptied, of another type; rows gone or twice; what the file says of itself."""
    if rng.random() < 0.3:
        return of_bytes()(rng, data)
    table = pq.read_table(io.BytesIO(data))
    metadata = dict(table.schema.metadata or {})
    for _ in range(rng.choice((1, 1, 2))):
        if not table.column_names:
            break
        at = rng.randrange(table.num_columns)
        name, kind = table.column_names[at], rng.randrange(7)
        if kind == 0:
            table = table.remove_column(at)
        elif kind == 1:
            odd = rng.choice(([None], ["x"], [2**40], [-1.5], [float("nan")], [[1]], [{"a": 1}]))
            table = table.set_column(at, name, pa.array(odd * len(table)))
        elif kind == 2:
            table = table.set_column(at, name, pa.nulls(len(table), table.schema.field(at).type))
        elif kind == 3:
            table = table.slice(rng.randrange(len(table) + 1))
        elif kind == 4:
            table = pa.concat_tables([table, table])
        elif kind == 5 and metadata:
            key = rng.choice(list(metadata))
            metadata[key] = of_json(rng, metadata[key])
        else:
            values = [value[:-1] if isinstance(value, list) else value for value in table[name].to_pylist()]
            table = table.set_column(at, name, pa.array(values, table.schema.field(at).type))
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return file.getvalue()


def of_safetensors(rng: random.Random, data: bytes) -> bytes:
    """The header, of which our metadata may hold JSON again; or any bytes."""
    if rng.random() < 0.3:
        return of_bytes()(rng, data)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = header.get("__metadata__", {})
    if "state" in metadata and rng.random() < 0.5:
        metadata["state"] = _text(rng, structure(rng, json.loads(metadata["state"]))).decode("utf-8", "replace")
    else:
        header = structure(rng, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def one_of(*mutations: Mutate) -> Mutate:
    return lambda rng, data: rng.choice(mutations)(rng, data)
