"""Images with captions."""

from datamodules.captions.layouts import CaptionTable, COCOCaptions, Flickr8k

__all__ = ["COCOCaptions", "CaptionTable", "Flickr8k"]
