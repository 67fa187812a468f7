"""Image augmentation policies: RandAugment, TrivialAugment and AugMix, as albumentations transforms."""

from datamodules.policies.policies import AugMix, RandAugment, TrivialAugment

__all__ = ["AugMix", "RandAugment", "TrivialAugment"]
