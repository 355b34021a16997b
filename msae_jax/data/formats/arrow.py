"""Arrow's tables in files, parquet and Arrow IPC (Feather is its other name), a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msae_jax.data.formats.stored import readable
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".arrow", ".feather")
ROWS = 1024  # of a batch
_END = b"\xff\xff\xff\xff\0\0\0\0"  # the last bytes of a stream that is whole


class Table:
    """The rows of one or more files with the same columns, one file after another.

    Attributes:
      where: what errors call it.
      schema: its columns.
      size: the bytes of the files.

    Raises: InputError if a file cannot be read, or its columns differ from those of the first.
    """

    def __init__(self, paths: Sequence[Path], where: str) -> None:
        self._paths, self.where = paths, where
        self.schema = _schema(paths[0])
        self.size = sum(path.stat().st_size for path in paths)
        for path in paths[1:]:
            if not _schema(path).equals(self.schema):
                raise InputError(f"{path}: has other columns than {paths[0].name}")
        names = self.schema.names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{where}: two columns are named {twice!r}")

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of some columns, at most `ROWS` at a time, checked."""
        for path in self._paths:
            with readable(path, f"{path.suffix} file"):
                read = _parquet if path.suffix.lower() == ".parquet" else _ipc
                for batch in read(path, columns):
                    if len(batch):
                        batch.validate(full=True)
                        yield batch.select(list(columns))


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    from pyarrow import parquet

    with readable(path, f"{path.suffix} file"):
        if path.suffix.lower() == ".parquet":
            return parquet.read_schema(path)
        with pa.memory_map(str(path)) as source:
            return _reader(source).schema


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        yield from file.iter_batches(ROWS, columns=list(columns))


def _ipc(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        names = _reader(source).schema.names
        reader = _reader(source, [names.index(name) for name in columns])
        if isinstance(reader, pa.RecordBatchFileReader):
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            for begin in range(0, len(batch), ROWS):
                yield batch.slice(begin, ROWS)


def _reader(source: pa.MemoryMappedFile, fields: list[int] | None = None) -> pa.RecordBatchReader:
    """Opens Arrow IPC in either form: a file that lists its batches, or a stream of them."""
    from pyarrow import ipc

    options = ipc.IpcReadOptions(included_fields=fields)
    source.seek(0)
    if source.read(6) == b"ARROW1":
        return ipc.open_file(source, options=options)
    source.seek(max(0, source.size() - len(_END)))
    if source.read() != _END:
        raise ValueError("it is no Arrow IPC file, or its end is missing")
    source.seek(0)
    return ipc.open_stream(source, options=options)
