"""Records of a `.wandb` file, as wandb's client writes it: protobuf messages in a LevelDB log."""

import json
import struct
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
HEADER = b":W&B"
FULL, FIRST, MIDDLE, LAST = range(1, 5)


def read_records(folder: Path) -> list[Record]:
    """Records of a W&B run's folder, in order."""
    (path,) = folder.glob("*.wandb")
    data, records, part = path.read_bytes(), [], b""
    assert data.startswith(HEADER)
    place = 7
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # the rest of a block is filled up
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part = (part if kind in (MIDDLE, LAST) else b"") + data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            records.append(Record.FromString(part))
    return records


class Logged:
    """Contents of a W&B run's folder.

    Attributes:
        run: the last record of the run: name, group, job type, tags, notes, git.
        config: settings by name.
        history: steps, in order: values by name.
        summary: values by name.
        metrics: definitions by name.
        artifacts: artifacts by name, in order.
    """

    def __init__(self, folder: Path) -> None:
        records = read_records(folder)
        self.run = [record.run for record in records if record.HasField("run")][-1]
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        for record in records:
            for item in [*record.run.config.update, *record.config.update]:
                self.config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            for item in record.summary.update:
                keys = list(item.nested_key) or [item.key]
                place = self.summary
                for key in keys[:-1]:
                    place = place.setdefault(key, {})
                place[keys[-1]] = json.loads(item.value_json)
        steps = (record.history.item for record in records if record.HasField("history"))
        self.history = [{i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items} for items in steps]
        self.metrics = {r.metric.name or r.metric.glob_name: r.metric for r in records if r.HasField("metric")}
        self.artifacts = [record.artifact for record in records if record.HasField("artifact")]
