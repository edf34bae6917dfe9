"""One populated instance of every message of the language, and the bytes it has to have.

`python -m tests.architecture.golden_bytes` rewrites the file: only for a deliberate change of the language.
"""

import importlib
import json
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.architecture.source_tree import ROOT

GOLDEN = Path(__file__).parent / "golden" / "messages.json"


def message_types() -> list[Descriptor]:
    """Return every message of proto/, sorted by full name; map entries are not messages of the language."""
    generated = (path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("e*/**/v1/*_pb2.py"))
    files = (importlib.import_module(".".join(path.parts)).DESCRIPTOR for path in generated)
    found = [message for file in files for message in file.message_types_by_name.values()]
    return sorted(found, key=lambda message: message.full_name)


def populated(kind: Descriptor) -> Message:
    """Return a message of *kind* in which every field is set: numbers from field numbers, text from field names.

    Of a oneof the last alternative stays.
    """
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if is_map(field):
            fill_map(getattr(message, field.name), field)
        elif field.message_type is not None:
            part = populated(field.message_type)
            target = getattr(message, field.name)
            target.extend([part, part]) if field.is_repeated else target.CopyFrom(part)
        elif field.is_repeated:
            getattr(message, field.name).extend([scalar(field, 0), scalar(field, 1)])
        else:
            setattr(message, field.name, scalar(field, 0))
    return message


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether *field* is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def fill_map(target, field: FieldDescriptor) -> None:
    """Put two entries into the map *target*, in an order that is not the sorted one."""
    value = field.message_type.fields_by_name["value"]
    for turn in (1, 0):
        key = f"{field.name}-{turn}"
        if value.message_type is not None:
            target[key].CopyFrom(populated(value.message_type))
        else:
            target[key] = scalar(value, turn)


def scalar(field: FieldDescriptor, turn: int):
    """Return a value for *field* that is never its default."""
    number = field.number + 100 * (turn + 1)
    if field.enum_type is not None:
        return field.enum_type.values[-1 - turn].number
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return number + 0.5
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return bytes([number % 256, 0, 255])
        case FieldDescriptor.CPPTYPE_STRING:
            return f"{field.name}-{turn}"
        case _:
            return number


def golden() -> dict[str, str]:
    """Return the recorded bytes of each message, in hex, by full name."""
    return json.loads(GOLDEN.read_text())


def write_golden() -> None:
    """Record the bytes that every message has now."""
    fresh = {kind.full_name: populated(kind).SerializeToString(deterministic=True).hex() for kind in message_types()}
    GOLDEN.write_text(json.dumps(fresh, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_golden()
