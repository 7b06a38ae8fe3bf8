"""A partition's events on disk: append-only segment files, read back at the start.

A segment is named by the sequence number and offset of its first event, so that both go on after every event in it
has expired. A record is a checksummed header and the message as consumers get it. The data is handed to the operating
system before an event is acknowledged: it survives the end of the process, not of the machine.
"""

import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

_LOG = logging.getLogger(__name__)
_RECORD = struct.Struct(">IIqqq")  # message size, checksum of what follows it, sequence number, offset, enqueued time
_CHECKED = struct.Struct(">qqq")
_SEGMENT_BYTES = 16 * 1024 * 1024


class Record(NamedTuple):
    """A stored event."""

    sequence_number: int
    offset: int
    enqueued_ms: int
    message: bytes


@dataclass(slots=True)
class _Segment:
    path: Path
    first_ms: int | None = None
    last_ms: int = 0


class SegmentLog:
    """The segment files of one partition, in a directory of its own."""

    def __init__(self, directory: Path, retention_ms: int) -> None:
        self._directory = directory
        # A segment goes when its newest event has expired: short segments give the space back in time.
        self._segment_ms = max(retention_ms // 4, 1)
        self._segments: list[_Segment] = []
        self._file: FileIO | None = None
        self._size = 0
        self.next_sequence_number = 0
        self.next_offset = 0

    def load(self) -> Iterator[Record]:
        """Yields the stored events in order, then opens the log for appending.

        A torn last record, left by a process that died while writing, was never acknowledged and is cut off.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._directory.glob("*.log")):
            segment = _Segment(path)
            self._segments.append(segment)
            self.next_sequence_number, self.next_offset = (int(part) for part in path.stem.split("-"))
            yield from self._read(segment)
        if self._segments:
            self._open(self._segments[-1].path)
        else:
            self._roll()

    def _read(self, segment: _Segment) -> Iterator[Record]:
        data = segment.path.read_bytes()
        at = 0
        while at < len(data):
            end = at + _RECORD.size
            header = data[at:end]
            if len(header) == _RECORD.size:
                size, checksum, sequence_number, offset, enqueued_ms = _RECORD.unpack(header)
                message = data[end : end + size]
                if len(message) == size and zlib.crc32(message, zlib.crc32(header[8:])) == checksum:
                    self._note(segment, enqueued_ms)
                    self.next_sequence_number, self.next_offset = sequence_number + 1, offset + size
                    yield Record(sequence_number, offset, enqueued_ms, message)
                    at = end + size
                    continue
            _LOG.warning("%s: cutting off %d bytes of an unfinished record", segment.path, len(data) - at)
            with segment.path.open("r+b") as file:
                file.truncate(at)
            return

    def _note(self, segment: _Segment, enqueued_ms: int) -> None:
        if segment.first_ms is None:
            segment.first_ms = enqueued_ms
        segment.last_ms = enqueued_ms

    def _open(self, path: Path) -> None:
        if self._file is not None:
            self._file.close()
        self._file = FileIO(path, "ab")
        self._size = path.stat().st_size

    def _roll(self) -> None:
        path = self._directory / f"{self.next_sequence_number:020d}-{self.next_offset:020d}.log"
        self._open(path)
        self._segments.append(_Segment(path))

    def append(self, records: list[Record]) -> None:
        """Writes events, all or none; raises `OSError`."""
        segment = self._segments[-1]
        if segment.first_ms is not None and (
            self._size >= _SEGMENT_BYTES or records[0].enqueued_ms - segment.first_ms >= self._segment_ms
        ):
            self._roll()
            segment = self._segments[-1]
        parts: list[bytes] = []
        for sequence_number, offset, enqueued_ms, message in records:
            checked = _CHECKED.pack(sequence_number, offset, enqueued_ms)
            checksum = zlib.crc32(message, zlib.crc32(checked))
            parts += (struct.pack(">II", len(message), checksum), checked, message)
        self._write(b"".join(parts))
        self._note(segment, records[-1].enqueued_ms)
        self.next_sequence_number = records[-1].sequence_number + 1
        self.next_offset = records[-1].offset + len(records[-1].message)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            raise OSError(f"{self._directory} is not open for writing")
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(data)

    def drop_before(self, oldest_ms: int) -> None:
        """Deletes the segments in which every event was enqueued before `oldest_ms`; the newest one always stays."""
        while len(self._segments) > 1 and self._segments[0].last_ms < oldest_ms:
            self._segments.pop(0).path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files."""
        if self._file is not None:
            self._file.close()
            self._file = None
