"""Counters of a server in Prometheus' text format."""

import os
import threading
from bisect import bisect_left
from collections import Counter
from pathlib import Path

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper bounds of the buckets of the histogram of response times."""


class Metrics:
    """Counts of requests and batches, and a histogram of the response times of predictions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.codes: Counter[int] = Counter()
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds, self.batches, self.samples, self.in_progress = 0.0, 0, 0, 0

    def begin(self) -> None:
        """Count a request for a prediction that begins."""
        with self._lock:
            self.in_progress += 1

    def end(self, code: int, seconds: float) -> None:
        """Count its end: status of the response, and seconds since it began."""
        with self._lock:
            self.in_progress -= 1
            self.codes[code] += 1
            if code == 200:
                self.buckets[bisect_left(BOUNDS, seconds)] += 1
                self.seconds += seconds

    def count_batch(self, samples: int) -> None:
        """Count a batch through the network."""
        with self._lock:
            self.batches += 1
            self.samples += samples

    def text(self) -> str:
        """All of them in Prometheus' text format, version 0.0.4."""
        with self._lock:
            codes = [f'graft_requests_total{{code="{code}"}} {count}' for code, count in sorted(self.codes.items())]
            total, rows = 0, []
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True):
                total += count
                rows.append(f'graft_request_seconds_bucket{{le="{bound}"}} {total}')
            rows += [f"graft_request_seconds_sum {self.seconds:.6f}", f"graft_request_seconds_count {total}"]
            families = [
                ("graft_requests_total", "counter", "Requests for predictions by status", codes),
                ("graft_request_seconds", "histogram", "Response time of predictions", rows),
                ("graft_requests_in_progress", "gauge", "Requests under way", [self.in_progress]),
                ("graft_batches_total", "counter", "Batches through the network", [self.batches]),
                ("graft_samples_total", "counter", "Samples in these batches", [self.samples]),
                ("process_resident_memory_bytes", "gauge", "Resident memory of the process", [resident()]),
            ]
        lines = []
        for name, kind, words, values in families:
            lines += [f"# HELP {name} {words}.", f"# TYPE {name} {kind}"]
            lines += [value if isinstance(value, str) else f"{name} {value}" for value in values]
        return "\n".join(lines) + "\n"


def resident() -> int:
    """Resident memory of this process in bytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return os.sysconf("SC_PAGE_SIZE") * pages
