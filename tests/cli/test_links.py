"""Settings linked from the data to the model, and their agreement with a checkpoint."""

from pathlib import Path
from types import SimpleNamespace

from jsonargparse import Namespace

from commands.linking import link
from modules.contracts import DataError
from tests.helpers.errors import refuses


def test_classes_are_those_of_the_data_and_in_the_order_of_the_checkpoint():
    settings = Namespace(model=Namespace(init_args=Namespace(classes=None)), data=Namespace(init_args=Namespace()))
    data = SimpleNamespace(classes=["dog", "cat"])
    link(settings, data, {}, None)
    assert settings.model.init_args.classes == ["dog", "cat"]
    settings.model.init_args.classes = None
    with refuses(DataError, "pets.ckpt"):
        link(settings, data, {"classes": ["cat", "dog"]}, Path("pets.ckpt"))


def test_an_exported_file_is_at_fault_where_the_data_has_other_classes():
    settings = Namespace(model=Namespace(init_args=Namespace(classes=None)), data=Namespace(init_args=Namespace()))
    with refuses(DataError, "exported file", "'dog'"):
        link(settings, SimpleNamespace(classes=["dog"]), {"classes": ["cat"]}, None)


def test_typed_classes_are_at_fault_where_they_are_not_those_of_the_checkpoint():
    model = Namespace(init_args=Namespace(classes=["a", "b"]))
    settings = Namespace(model=model, data=Namespace(init_args=Namespace()))
    with refuses(DataError, "model.classes has 2 classes", "3"):
        link(settings, SimpleNamespace(classes=["x", "y", "z"]), {"classes": ["x", "y", "z"]}, Path("pets.ckpt"))
