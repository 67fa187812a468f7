"""An exported file in place of a checkpoint: its settings, and the answers of its network for batches."""

from pathlib import Path

from commands.arguments import parse_known, typed_class, without
from commands.export.batches import joined, samples_of
from commands.export.runtime import OnnxModel
from commands.given_settings import typed_names
from commands.trained import Trained
from datamodules import DataModule
from modules.contracts import Batch, ConfigError, DataError, Prediction
from modules.text.search import Search
from tasks import Task
from tasks.text_generation import TextGeneration

INPUTS = {"image": "image", "video": "video", "text": "source", "noise": "noise"}
"""Kind of the samples of a file -> key of a batch that holds them."""
INSIDE = tuple(f"data.{name}" for name in "image_size frames tokenizer vocab_size shared_vocab max_length".split())
"""Settings of data that a file holds."""
OUTSIDE = ("model.extra_metrics",)
"""Settings of tasks that are about the figures of `test`."""


def read_exported(argv: list[str]) -> tuple[Trained | None, OnnxModel | None, list[str]]:
    """The file of --onnx: facts about its training, as of a checkpoint, the file, and the arguments without it.

    Args:
        argv: the arguments; without --onnx they come back as they are.

    Raises:
        ConfigError: it is of another task than the command, a typed setting is one that the file holds, or it gives
            features, of which there are no test metrics.
        DataError: it is no such file.
    """
    typed = parse_known(argv).onnx
    if typed is None:
        return None, None, argv
    model = OnnxModel(Path(typed).expanduser())
    asked, about = typed_class(argv, "model"), model.metadata["train"]
    if asked and asked != model.task:
        raise ConfigError(f"{typed} is a file of {model.task}, but this command is about {asked}")
    _check_settings(argv, typed)
    if argv[0] in ("test", "validate") and "features" in model.metadata["outputs"]:
        raise ConfigError(
            f"{typed} gives features, which {argv[0]} does not measure: predict writes them, and evaluate --ckpt_path "
            f"measures those of the run"
        )
    run, settings = model.metadata["run"], {section: about[section] for section in ("model", "data")}
    trained = Trained(model.path.resolve(), run["name"], run["epoch"] - 1, settings, about["meaning"])
    return trained, model, without(argv, "--onnx")


def _check_settings(argv: list[str], file: str) -> None:
    """Refuse typed settings of the network and its input, which would change nothing.

    Raises:
        ConfigError: names the setting.
    """
    for name in sorted(typed_names(argv)):
        if name in INSIDE or (name.startswith("model.") and name not in OUTSIDE):
            raise ConfigError(f"--{name} is part of the file {file}: leave it out, or type it to `export`")


def in_words(model: OnnxModel | None) -> str:
    """The file, if there is one, and the type in which its network computes."""
    return f"{model.path.name} in {model.metadata['precision']}" if model else ""


def answer_by(model: OnnxModel | None, task: Task, data: DataModule) -> None:
    """Let a file, if there is one, answer in place of a task's network, on images in their original size."""
    if model is not None:
        if isinstance(task, TextGeneration):
            task.search_by(Search(**model.metadata["settings"]["search"]))
        if model.kind == "image":
            data.set_original_size()

        def answer(batch: Batch) -> Prediction:
            if INPUTS[model.kind] not in batch:
                raise DataError(
                    f"{model.path} takes {model.kind}, but {type(data).__name__} gives {', '.join(batch)}: "
                    f"choose other --data"
                )
            return joined(model(samples_of(batch)))

        task.answer_by(answer)
