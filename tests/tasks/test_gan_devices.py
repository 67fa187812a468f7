"""Two gloo processes train a GAN as one does with the same global batch, without any option of the strategy."""

import torch


def test_two_processes_have_the_weights_of_one(alone_and_by_twos):
    one, two = (torch.load(path, weights_only=True) for path in alone_and_by_twos("two_gans.py"))
    steps = {"gan": 6, "wgan": 2, "r1": 3, "batch norm": 6}
    assert {name: int(state["steps"]) for name, state in one.items()} == steps
    # statistics of half a batch differ, but their mean over the processes moves as those of the whole batch
    normed = two.pop("batch norm"), one.pop("batch norm")
    means = [torch.cat([v for k, v in state.items() if k.endswith("running_mean")]) for state in normed]
    assert means[1].norm() > 0.01 and (means[0] - means[1]).norm() < 0.2 * means[1].norm()
    assert any(name.startswith("averaged") for name in one["gan"])
    for method, state in one.items():
        for name, value in state.items():
            message = f"{method}: {name}"
            torch.testing.assert_close(
                two[method][name], value, atol=1e-4, rtol=1e-3, msg=lambda text, m=message: f"{m} {text}"
            )
