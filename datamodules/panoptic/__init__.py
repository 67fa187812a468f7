"""Images cut into segments: objects that are told apart (things), and the regions around them (stuff)."""

from datamodules.panoptic.panoptic_folder import PanopticFolder

__all__ = ["PanopticFolder"]
