"""The page: one layout per kind of prediction, in Gradio."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr  # pyrefly: ignore[missing-import]
import numpy as np

from commands.demo import answers
from commands.predictor import Predictor
from commands.serve.answers import Meaning
from datamodules.decoding import decode_image
from modules.contracts import ConfigError, DataError, counted, from_here

HEADS = {
    "labels": "Drop {sample} and see the probability of each class.",
    "objects": "Drop an image and see its objects; the slider hides the less certain ones.",
    "mask": "Drop an image and see the class of each pixel.",
    "text": "Drop an image and see its caption, and where the network looked for each piece of it.",
    "translation": "Type a sentence and see its translation, and the pieces of the source behind each piece.",
    "generated": "Move from one generated image to another through the noise between them.",
    "features": "Drop an image and see its features.",
    "styles": "Drop an image and see it in each style.",
}
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # of the browser, not loaded
BUTTONS: list[Any] = ["download", "fullscreen"]  # of images, which would be shared with others too
TOP = 10  # classes with bars
COLUMNS = ["class", "score in %", "left, top, right, bottom"]


def build_page(predictor: Predictor, kind: str, samples: Sequence[Any]) -> gr.Blocks:
    """The page of a run.

    Args:
        predictor: of the run.
        kind: of its predictions, one of `HEADS`.
        samples: examples: paths of files, or sentences.
    """
    title = f"{predictor.name} by Graft"
    sample = "a video" if predictor.kind == "video" else "an image"
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.Markdown(f"# {title}\n{HEADS[kind].format(sample=sample)}")
        if kind == "generated":
            _generated(predictor)
        elif kind == "translation":
            _translation(predictor, samples)
        else:
            _files(predictor, kind, samples)
        gr.Markdown(f"`{from_here(predictor.checkpoint)}`")
    return page


def _files(predictor: Predictor, kind: str, samples: Sequence[Any]) -> None:
    """The page of a task on images or videos."""
    with gr.Row():
        with gr.Column():
            if predictor.kind == "video":
                given = gr.Video(label="video", sources=["upload"], height=320)
            else:
                given = gr.Image(
                    label="image", type="filepath", image_mode=None, sources=["upload", "clipboard"], height=320
                )
            more = (
                [gr.Slider(0, 1, answers.usual_threshold(predictor), step=0.01, label="lowest score")]
                if kind == "objects"
                else []
            )
            button = gr.Button("Predict", variant="primary")
        with gr.Column():
            shown = _outputs(kind)
    work = _guarded(_answer(predictor, kind))
    button.click(work, [given, *more], shown, api_name="predict")
    given.upload(work, [given, *more], shown, api_visibility="private")
    for slider in more:
        slider.release(work, [given, *more], shown, api_visibility="private")
    if samples:
        gr.Examples(
            [[path] for path in samples],
            [given],
            shown,
            lambda path: work(path, *(s.value for s in more)),
            run_on_click=True,
            cache_examples=False,
            label="examples of the test split",
            api_visibility="private",
        )


def _outputs(kind: str) -> list[Any]:
    """Components of an answer, in their order on the page."""
    if kind == "labels":
        return [gr.Label(label="classes", num_top_classes=TOP)]
    if kind == "features":
        return [gr.JSON(label="features")]
    if kind == "styles":
        return [gr.Gallery(label="styles", columns=2, height="auto", interactive=False, buttons=BUTTONS)]
    if kind == "text":
        maps = gr.Gallery(label="attention of each piece", columns=4, height="auto", interactive=False, buttons=BUTTONS)
        return [gr.Textbox(label="caption", interactive=False), maps]
    drawn = gr.Image(label="prediction", format="png", interactive=False, buttons=BUTTONS)
    if kind == "objects":
        return [drawn, gr.Dataframe(headers=COLUMNS, label="objects", interactive=False)]
    return [drawn, gr.Label(label="share of the pixels", num_top_classes=TOP)]


def _answer(predictor: Predictor, kind: str) -> Callable[..., Any]:
    """The function from an input, and the slider, to the outputs."""
    meaning, classes = Meaning.of(predictor.classes, predictor.data), list(predictor.classes or [])

    def work(path: str, *more: float) -> Any:
        if path is None:
            raise DataError(f"there is no {predictor.kind} yet: drop one, or click on an example")
        content = Path(path).read_bytes()
        prepared = predictor.prepare(content)
        if kind == "text":
            return answers.caption(predictor, decode_image(content, "image"), content)
        (found,) = predictor.predict([prepared])
        if kind == "labels":
            return answers.labels(found, classes)
        if kind == "features":
            return found["features"].tolist()
        if kind == "styles":
            return [(pixels.numpy(), name) for name, pixels in found["styles"].items()]
        image = decode_image(content, "image")
        if kind == "objects":
            drawn, rows = answers.objects(image, found, classes, more[0])
            said = f"objects: {len(rows)} of {counted(len(found['scores']), 'detections')} have that score"
            return drawn, gr.Dataframe(rows, label=said)
        return answers.semantic(image, found, meaning)

    return work


def _translation(predictor: Predictor, samples: Sequence[str]) -> None:
    given = gr.Textbox(label="sentence", lines=2)
    button = gr.Button("Translate", variant="primary")
    shown = [
        gr.Textbox(label="translation", interactive=False),
        gr.Image(label="alignment", format="png", interactive=False, buttons=BUTTONS),
    ]
    work = _guarded(lambda text: answers.translate(predictor, text or ""))
    gr.on([button.click, given.submit], work, [given], shown, api_name="predict")
    if samples:
        gr.Examples(
            [[text] for text in samples],
            [given],
            shown,
            work,
            run_on_click=True,
            cache_examples=False,
            label="examples of the test split",
            api_visibility="private",
        )


def _generated(predictor: Predictor) -> None:
    named = predictor.conditions
    with gr.Row():
        with gr.Column():
            numbers = [
                gr.Number(number, label=label, precision=0, minimum=0) for number, label in enumerate(("from", "to"))
            ]
            share = gr.Slider(0, 1, 0, step=0.01, label="through the noise")
            label = gr.Dropdown(named or [], value=named[0] if named else None, label="class", visible=bool(named))
        shown = gr.Image(label="generated image", format="png", interactive=False, buttons=BUTTONS)
    given = [*numbers, share, label]
    work = _guarded(lambda first, second, *rest: answers.generate(predictor, int(first), int(second), *rest))
    gr.on(
        [share.change, label.change, *(number.change for number in numbers)],
        work,
        given,
        shown,
        api_name="predict",
        show_progress="hidden",
        trigger_mode="always_last",
    )
    gr.on(None, work, given, shown, api_visibility="private")


def _guarded(work: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a sentence on the page in place of an error of the user's."""

    @wraps(work)
    def guarded(*given: Any) -> Any:
        try:
            return work(*given)
        except (DataError, ConfigError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    return guarded


def first_answer(predictor: Predictor, samples: Sequence[Any]) -> str:
    """Kind of the page, from the prediction of a sample: an example, or a gray image, a word or a number."""
    if predictor.kind in ("noise", "text"):
        return {"noise": "generated", "text": "translation"}[predictor.kind]
    if predictor.kind == "video":
        return "labels"
    given = Path(samples[0]).read_bytes() if samples else np.full((64, 64, 3), 128, np.uint8)
    (found,) = predictor.predict([predictor.prepare(given)])
    return answers.kind_of(predictor, found)
