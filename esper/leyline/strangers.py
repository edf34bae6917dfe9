"""What a later version wrote that this one has no name for."""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def unknown_numbers(message: Message) -> Iterator[tuple[str, int]]:
    """Yield the path and number of each enum value in *message* that this version's language does not name.

    Such a number is kept as it is, on the way through rules and rows; nothing of ours treats it as a value that it
    knows.
    """
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            items = ((f"{field.name}[{key}]", one) for key, one in sorted(value.items()))
        elif field.is_repeated:
            inner, items = field, ((f"{field.name}[{index}]", one) for index, one in enumerate(value))
        else:
            inner, items = field, iter([(field.name, value)])
        if inner.enum_type is not None:
            names: Mapping[int, object] = inner.enum_type.values_by_number
            yield from ((path, number) for path, number in items if number not in names)
        elif inner.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for path, part in items:
                yield from ((f"{path}.{deeper}", number) for deeper, number in unknown_numbers(part))
