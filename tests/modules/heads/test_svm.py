"""The linear SVM: the head `Linear` with a hinge loss against scikit-learn's."""

import torch
from sklearn.svm import LinearSVC

from modules.contracts import Features
from modules.heads import Linear


def test_of_two_classes_it_is_that_of_scikit_learn():
    x, strength = torch.randn(60, 4), 0.05
    labels = (x @ torch.tensor([2.0, -1.0, 0.5, 0.0]) + torch.randn(60) > 0).long()
    head = Linear(Features([4], [1]), 2, loss="squared_hinge")
    solver = torch.optim.LBFGS([head.fc.weight], max_iter=500, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:  # |w|^2 / 2 of the difference of both rows, which are opposite at the minimum
        solver.zero_grad()
        loss = head.fc.weight.square().sum() + strength * len(x) * head.loss(x @ head.fc.weight.T, labels)
        loss.backward()
        return loss

    solver.step(objective)
    library = LinearSVC(C=strength, loss="squared_hinge", fit_intercept=False, tol=1e-8, max_iter=10_000)
    library.fit(x.numpy(), labels.numpy())
    found = (head.fc.weight[1] - head.fc.weight[0]).detach()
    torch.testing.assert_close(found, torch.from_numpy(library.coef_[0]).float(), rtol=1e-3, atol=1e-4)
