"""Description of the evaluation transform of a data module, from which exports rebuild it."""

from typing import Literal, NamedTuple


class Preprocessing(NamedTuple):
    """Evaluation transform of images.

    Args:
        kind: `center_crop`, the largest centered square, resized bilinearly; `letterbox`, the whole image, fitted into
            `size` at the top left.
        size: height and width in pixels that the network sees; null for those of each image.
    """

    kind: Literal["center_crop", "letterbox"]
    size: tuple[int, int] | None
