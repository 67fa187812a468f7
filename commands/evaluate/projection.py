"""Two-dimensional projection of features: t-SNE or PCA."""

from typing import Literal

import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

Method = Literal["tsne", "pca"]
MIN_TSNE_SAMPLES = 50  # samples; with fewer, t-SNE draws groups that are not there


def lay_out(features: Tensor, method: Method, seed: int) -> tuple[np.ndarray, str]:
    """Project L2-normalized features (N, D) to points float (N, 2), and the method in words; PCA for few samples."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = normalize(features, dim=1).cpu().numpy()
    if method == "pca" or len(points) < MIN_TSNE_SAMPLES:
        found = PCA(2, random_state=seed)
        laid = found.fit_transform(points)
        return laid, f"PCA, {100 * found.explained_variance_ratio_.sum():.0f} % of the variance"
    points = PCA(min(50, *points.shape), random_state=seed).fit_transform(points)
    return TSNE(perplexity=min(30, len(points) // 4), random_state=seed).fit_transform(points), f"t-SNE, seed {seed}"
