"""The parts of a JPEG file, without decoding it (ITU-T T.81, annex B)."""
import re
from collections import defaultdict
from collections.abc import Iterator

_AFTER_SCAN = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')  # a marker that ends the coded data of a scan
ALONE = {0x01, *range(0xd0, 0xd9)}  # markers without data
SCAN, END, FRAMES = 0xda, 0xd9, {*range(0xc0, 0xd0)} - {0xc4, 0xc8, 0xcc}


def jpeg_end(data: bytes) -> int | None:
    """Where the file's picture ends, behind its end marker; None where that is not reached.

    Whatever follows is allowed, and so is a whole JPEG inside of a segment, as the thumbnail of EXIF.
    """
    return next((start + 2 for marker, start, _ in _segments(data) if marker == END), None)


def has_every_scan(data: bytes) -> bool:
    """Whether the scans hold all coefficients of all components to the last bit, as far as their headers say."""
    components: set[int] = set()
    finished: defaultdict[int, set[int]] = defaultdict(set)  # of a component
    for marker, start, end in _segments(data):
        body = data[start + 4:end]
        if marker in FRAMES and len(body) > 5:
            components = set(body[6::3])
            progressive = marker in (0xc2, 0xc6, 0xca, 0xce)
        elif marker == SCAN and components and len(body) == 4 + 2 * body[0]:
            first, last, bits = body[-3:] if progressive else (0, 63, 0)
            for component in body[1:-3:2] if bits & 15 == 0 else ():
                finished[component].update(range(first, last + 1))
    return bool(components) and all(len(finished[component]) == 64 for component in components)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker with where it starts and where its data end, up to the end marker or the end of the file."""
    position = 2
    while True:
        position = data.find(b'\xff', position)
        while position >= 0 and data[position + 1:position + 2] == b'\xff':  # fill bytes
            position += 1
        if position < 0 or position + 2 > len(data):
            return
        marker = data[position + 1]
        if marker == 0 or marker in ALONE:
            position += 2
            continue
        if marker == END:
            yield marker, position, position + 2
            return
        end = position + 2 + int.from_bytes(data[position + 2:position + 4], 'big')
        if end > len(data) or end < position + 4:
            return
        yield marker, position, end
        if marker == SCAN:
            found = _AFTER_SCAN.search(data, end)
            if found is None:
                return
            end = found.end() - 2
        position = end
