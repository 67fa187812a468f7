"""Pretrained classification head of the backbone's library."""

from torch import Tensor

from modules.contracts import Backbone, ConfigError, Features, Maps
from modules.heads.classification.linear import Linear


class Published(Linear):
    """Pretrained classifier of the backbone's library, with the loss of `Linear`: `--model.head pretrained`.

    Its weights are 0 until those of the library are loaded (`modules.training.transfer.load_backbone`).

    Args:
        features: feature pyramid of the backbone.
        outputs: number of classes C, which must be the library's.
        backbone: whose classifier it is; it is not kept.
        kwargs: as in `Linear`.

    Raises:
        ConfigError: the network was published without a classifier, or with one for another number of classes.
    """

    def __init__(self, features: Features, outputs: int, backbone: Backbone, **kwargs):
        super().__init__(features, outputs, **kwargs)
        remedy = "leave --model.head out to train a new one"
        classifier = backbone.classifier()
        if classifier is None:
            raise ConfigError(f"model.head is pretrained, but {backbone.name} has no classifier: {remedy}")
        self.fc, self.pools = classifier, classifier.pools
        classes = classifier.classes
        if classes != outputs:
            raise ConfigError(
                f"model.head pretrained tells the {classes} classes that {backbone.name} was published for apart, but "
                f"the data has {outputs}: {remedy}"
            )

    def forward(self, features: Tensor | Maps) -> Tensor:
        """Pooled features (B, D), or maps unless it `pools`, to logits (B, C)."""
        return self.fc(self.dropout(features) if self.pools else features)
