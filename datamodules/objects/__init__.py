"""Images with objects in them: boxes, classes and outlines."""

from datamodules.objects.object_folder import Objects

__all__ = ["Objects"]
