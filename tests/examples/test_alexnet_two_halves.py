"""The example of tensor parallelism: AlexNet in two processes."""

from examples.alexnet_two_halves import compare
from tests.helpers.forks import in_group


def test_two_halves_are_the_whole_in_outputs_and_gradients(tmp_path):
    found = in_group(lambda rank: compare(rank, share=1 / 16, images=1), tmp_path)
    for one in found:
        assert max(one["logits"], one["gradients"]) < 1e-10
        # forward and backward: 8 x 13 x 13 before conv3, 8 x 6 x 6 and twice 128 before the linear layers, 500 classes
        assert one["sent"] == 2 * 8 * (8 * 13 * 13 + 8 * 6 * 6 + 2 * 128 + 500)
