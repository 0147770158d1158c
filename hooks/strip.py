"""Copies a component without its names and notes: strip.py FROM TO.

The linker leaves out a program's own names when it is told to strip, but not those of the component around it, which
are 3 kB of a small hook. `wasm-tools strip` does the same and more.
"""

import sys

HEADER = 8  # "\0asm", version, layer
LAYER = 6  # where the header tells a component from a core module
CUSTOM = 0
NESTED = (1, 4)  # sections of a component that are core modules and components


def number(data, at):
    """The LEB128 number at this place, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def encoded(value):
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def strip(data):
    kept = data[:HEADER]
    nested = NESTED if data[LAYER] == 1 else ()
    at = HEADER
    while at < len(data):
        kind = data[at]
        length, start = number(data, at + 1)
        at = start + length
        content = data[start:at]
        if kind in nested:
            content = strip(content)
        if kind != CUSTOM:
            kept += bytes([kind]) + encoded(len(content)) + content
    return kept


source, target = sys.argv[1:]
with open(source, "rb") as file:
    stripped = strip(file.read())
with open(target, "wb") as file:
    file.write(stripped)
