"""Pretrained classification head of the backbone's library."""

from modules.contracts import Backbone, ConfigError, Features
from modules.heads.classification.linear import Linear


def published(features: Features, outputs: int, backbone: Backbone) -> Linear:
    """Head with the published classifier of the backbone as its layer: `--model.head pretrained`.

    The classifier's weights are 0 until those of the library are loaded (`modules.training.transfer.load_backbone`).

    Args:
        features: feature pyramid of the backbone.
        outputs: number of classes C, which must be the library's.
        backbone: whose classifier it is.

    Raises:
        ConfigError: the network was published without a classifier, or with one for another number of classes.
    """
    head, remedy = Linear(features, outputs), "leave --model.head out to train a new one"
    classifier = backbone.classifier()
    if classifier is None:
        raise ConfigError(f"model.head is pretrained, but {backbone.name} has no classifier: {remedy}")
    if classifier.classes != outputs:
        raise ConfigError(
            f"model.head pretrained tells the {classifier.classes} classes that {backbone.name} was published for "
            f"apart, but the data has {outputs}: {remedy}"
        )
    head.replace_layer(classifier, classifier.pools)
    return head
