"""TensorBoard's event files, written by tensorboardX: no TensorFlow is needed."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboardX import summary as summaries
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from msae_jax.trackers import About, flat


class TensorBoard:
    """Writes RUN/tensorboard/SERIES, which `tensorboard --logdir` finds from any folder above.

    Like `metrics.jsonl`, the files are written anew when a run goes on. They begin with the event
    that makes a TensorBoard that is open already forget what it has read. `SummaryWriter` would
    write in a thread, where a full disk is not noticed.
    """

    def __init__(self, about: About) -> None:
        self._folder = about.folder / "tensorboard"
        self._writers: dict[str, EventsWriter] = {}

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        folder = self._folder / series
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writers[series] = EventsWriter(str(folder / "events"))
        self._write(series, session_log=SessionLog(status=SessionLog.START))
        values = {k: v if isinstance(v, float | int | str) else json.dumps(v, default=list)
                  for k, v in flat(config).items() if v is not None}  # fmt: skip
        for part in summaries.hparams(values, {"test_loss": None}):
            self._write(series, summary=part)
        text = f"```json\n{json.dumps(config, indent=1, default=list)}\n```"
        self._write(series, summary=summaries.text("configuration", text))
        return 0

    def _write(self, series: str, **event: Any) -> None:
        """Writes an event, with the time of now."""
        self._writers[series].write_event(Event(wall_time=time.time(), **event))

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._write(series, step=epoch, summary=Summary(value=values))
        self._writers[series].flush()

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        for name, value in summary.items():
            self._write(series, step=epoch, summary=summaries.text(name, str(value)))
        for i, path in enumerate(images, start=1):
            png = path.read_bytes()
            width, height = struct.unpack(">II", png[16:24])  # of the header of a PNG
            shown = Summary.Image(
                encoded_image_string=png, width=width, height=height, colorspace=4
            )
            value = Summary.Value(tag=f"reconstructions/{i}", image=shown)
            self._write(series, step=epoch, summary=Summary(value=[value]))

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
