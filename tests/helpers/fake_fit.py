"""A `fit` of milliseconds for tests of `tune`: its accuracy follows from its learning rate, and a signal ends it.

It writes what a run leaves, and notes in STARTED, beside the run directories, each folder that it finished.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

options = dict(word.lstrip("-").split("=", 1) for word in sys.argv if word.startswith("--") and "=" in word)
folder = Path(sys.argv[sys.argv.index("--run_dir") + 1])
epochs, pause = int(options.get("trainer.max_epochs", 9)), float(os.environ.get("FAKE_PAUSE", "0.01"))
lr, last = float(options.get("model.optim.lr", 0.002)), folder / "checkpoints" / "last.ckpt"


def end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def accuracy(epoch: int) -> float:
    """Rises over the epochs to a height that is best at a learning rate of 0.01."""
    return (1 - 0.2 * abs(math.log10(lr) + 2)) * epoch / epochs


signal.signal(signal.SIGTERM, end)
if lr > float(os.environ.get("FAKE_LIMIT", "inf")):
    print("error: the loss is nan")
    sys.exit(1)
last.parent.mkdir(parents=True, exist_ok=True)
(folder / "config.yaml").write_text(f"# fit\nmodel.optim.lr: {lr}\n")
begun = int(last.read_text()) if last.exists() else 0
for epoch in range(begun, epochs):
    time.sleep(pause)
    rows = [f"{each},{each},{accuracy(each + 1)}" for each in range(epoch + 1)]
    (folder / "metrics.tmp").write_text("\n".join(["step,epoch,val/accuracy", *rows]) + "\n")
    (folder / "metrics.tmp").replace(folder / "metrics.csv")
    last.write_text(str(epoch + 1))
rows = [{"metric": "val/accuracy", "value": accuracy(epochs), "protocol": "fake"}]
report = {"results": rows, "test weights": "", "epochs": epochs, "command": sys.argv, "seconds": epochs * pause}
with (folder.parents[1] / "finished.log").open("a") as log:
    log.write(f"{folder.name} {begun}\n")
(folder / "results.json").write_text(json.dumps(report))
