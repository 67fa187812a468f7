"""Model card of a pushed run: README.md with the hub's metadata, written from the results of the run."""

import html
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from callbacks.results.number_format import bounds, number, or_nan
from commands.arguments import class_of
from commands.push.reading import Trained
from commands.report.run import headline, interval_lines, said
from modules.contracts import Backbone
from modules.training.hub import OWN
from modules.training.timm_format import Format

CLASSIFIER, FEATURES = "image-classification", "image-feature-extraction"
NAMED = 20  # classes that the card names


class Pushed(NamedTuple):
    """All that a card tells about a run.

    Args:
        repository: OWNER/NAME.
        run: with its results.
        backbone: the pushed one.
        classes: of the classifier; null for features alone.
        format: of the folder.
        license: as the hub names it; null where nothing was said.
    """

    repository: str
    run: Trained
    backbone: Backbone
    classes: Sequence[str] | None
    format: Format
    license: str | None


def card(pushed: Pushed) -> str:
    """The text of README.md."""
    sections = {
        "Results": _results(pushed),
        "How to use": _use(pushed),
        "Data": _data(pushed),
        "Limits": _limits(pushed),
        "How to reproduce": _reproduce(pushed),
    }
    body = [f"# {pushed.repository.partition('/')[2]}", "", _about(pushed), ""]
    for title, lines in sections.items():
        body += [f"## {title}", "", *lines, ""]
    return f"---\n{_metadata(pushed)}\n---\n\n" + "\n".join(body)


def _metadata(pushed: Pushed) -> str:
    kind = CLASSIFIER if pushed.format.classifier else FEATURES
    data = _data_name(pushed)
    results = [
        EvalResult(
            task_type=CLASSIFIER if pushed.classes else FEATURES,
            dataset_type=re.sub(r"\W+", "_", data.lower()).strip("_"),
            dataset_name=data,
            dataset_split="test",
            metric_type=row["metric"].partition("/")[2],
            metric_name=f"{row['metric']} ({row['protocol']})",
            metric_value=row["value"],
        )
        for row in pushed.run.rows
        if row["metric"].startswith("test/") and row["value"] is not None
    ]
    metrics = [result.metric_type for result in results]
    return ModelCardData(
        license=pushed.license,
        library_name="timm" if pushed.format.timm else OWN,
        pipeline_tag=kind if pushed.format.timm else None,
        tags=[*dict.fromkeys([kind, "timm", OWN, _class(pushed, "model").lower(), pushed.backbone.name])],
        metrics=metrics or None,
        model_name=pushed.repository.partition("/")[2],
        eval_results=results or None,
    ).to_yaml()


def _about(pushed: Pushed) -> str:
    count = sum(parameter.numel() for parameter in pushed.backbone.net.parameters()) / 1e6
    what = f"{pushed.backbone.name} ({count:.2f} M parameters), trained by {_class(pushed, 'model')}"
    says = said(headline(pushed.run.report | {"results": pushed.run.rows}))
    return plain(f"{what} on {_data_name(pushed)} with Graft, a PyTorch Lightning application. {says}.")


def _results(pushed: Pushed) -> list[str]:
    lines = ["| metric | value | 95 % interval | protocol |", "|---|---|---|---|"]
    for row in sorted(pushed.run.rows, key=lambda row: not row["metric"].startswith("test/")):
        ends = bounds(*row["interval"]) if row.get("interval") else ""
        cells = (row["metric"], number(or_nan(row["value"])), ends, row["protocol"])
        lines.append(f"| {' | '.join(map(plain, cells))} |")
    weights = f"Weights: {pushed.run.rows[0]['weights']}; seed {pushed.run.report.get('seed')}, one run."
    notes = [str(note) for note in pushed.run.report.get("notes", ()) if str(note).startswith("learning curves")]
    return [*lines, "", *(plain(line) for line in [weights, *interval_lines(pushed.run.rows), *notes])]


def _use(pushed: Pushed) -> list[str]:
    name = pushed.repository
    graft = f"python cli.py fit --config tasks/classification.yaml --model.weights hf-hub:{name}"
    graft += f" --model.backbone {shlex.quote(pushed.backbone.name)}"
    graft += " --model.small_images true" * pushed.backbone.small_images
    channels = pushed.backbone.in_channels
    graft += f" --model.in_channels {channels}" * (channels != 3)
    graft += "".join(f" --model.{layer} {kind}" for layer, kind in pushed.backbone.changed.items())
    lines = ["As the start of another task, with Graft:", "", f"    {graft}", ""]
    if pushed.format.timm:
        code = [
            "import timm",
            "from PIL import Image",
            "",
            f'model = timm.create_model("hf-hub:{name}", pretrained=True).eval()',
            "config = timm.data.resolve_model_data_config(model)",
            "transform = timm.data.create_transform(**config, is_training=False)",
            f'image = transform(Image.open("image.jpg").convert("{"L" if channels == 1 else "RGB"}")).unsqueeze(0)',
        ]
        if pushed.format.classifier:
            scores = "sigmoid()" if _binary(pushed) else "softmax(1)"
            code += [f"scores = model(image).{scores}", 'names = model.pretrained_cfg["label_names"]']
        else:
            code += ["features = model.forward_head(model.forward_features(image), pre_logits=True)"]
        lines = ["With timm alone:", "", *(f"    {line}".rstrip() for line in code), "", *lines]
    else:
        why = f"Plain timm does not load this: {pushed.format.reason}. model.safetensors has the backbone's tensors"
        lines = [plain(f"{why} under the names of its library."), "", *lines]
    if pushed.classes and not pushed.format.classifier:
        lines += ["classifier.safetensors has the tensors of the classifier, which takes the pooled features.", ""]
    return lines[:-1]


def _data(pushed: Pushed) -> list[str]:
    settings = _settings(pushed)
    split = [row["protocol"].partition("; ")[0] for row in pushed.run.rows]
    lines = [f"{_data_name(pushed)}; evaluated on {', '.join(dict.fromkeys(split))}."]
    if settings.get("image_size"):
        lines.append(f"Images of {settings['image_size']} pixels.")
    if pushed.classes:
        more = f", and {len(pushed.classes) - NAMED} more" if len(pushed.classes) > NAMED else ""
        lines.append(f"{len(pushed.classes)} classes: {', '.join(pushed.classes[:NAMED])}{more}.")
    return [f"- {plain(line)}" for line in lines]


def _limits(pushed: Pushed) -> list[str]:
    lines = [
        "One training with one seed: another seed gives other figures; the intervals are about the test items alone.",
        "The figures are of this data; images from another source may be answered worse.",
    ]
    if pushed.classes and not _binary(pushed):
        lines.append("Every image gets one of the classes, also one that shows none of them.")
    if pushed.format.classifier:
        lines.append(
            "The figures are of the centered square, resized by bilinear interpolation without antialiasing; timm's "
            "transforms have antialiasing, so that answers on images that are made much smaller can differ a little."
        )
    return [f"- {plain(line)}" for line in lines]


def _reproduce(pushed: Pushed) -> list[str]:
    report = pushed.run.report
    versions = [f"{name} {value}" for name, value in report.get("versions", {}).items()]
    versions += [f"Graft at commit {report.get('commit')}"] * bool(report.get("commit"))
    typed = [Path(word).name if word.endswith("cli.py") else str(word) for word in report["command"]]
    machine = f"{report.get('machine')}, precision {report.get('precision')}, {report.get('seconds')} s."
    return [
        "The complete configuration is config.yaml in this repository:",
        "",
        "    python cli.py fit --config config.yaml",
        "",
        "As typed:",
        "",
        f"    {' '.join(shlex.join(typed).split())}",
        "",
        plain(f"Trained on {machine} {', '.join(versions)}."),
    ]


def _settings(pushed: Pushed) -> dict[str, Any]:
    """Settings of the data."""
    return (pushed.run.settings.get("data") or {}).get("init_args") or {}


def _binary(pushed: Pushed) -> bool:
    """True for a classifier with a sigmoid for each class."""
    head = ((pushed.run.settings.get("model") or {}).get("init_args") or {}).get("head")
    return isinstance(head, dict) and (head.get("init_args") or {}).get("loss") == "binary"


def _data_name(pushed: Pushed) -> str:
    """Class of the data, and the last folder of its root."""
    root = _settings(pushed).get("root")
    return _class(pushed, "data") + (f" {Path(root).name}" if isinstance(root, str) and Path(root).name else "")


def _class(pushed: Pushed, section: str) -> str:
    """Name of the class of the task or the data."""
    return (class_of(pushed.run.settings.get(section))[0] or "unknown").rpartition(".")[2]


def plain(text: str) -> str:
    """Text in Markdown that is no markup, in one line."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
