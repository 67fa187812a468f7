from itertools import permutations

import torch

from modules.heads.queries.matching import match


def test_the_assignment_is_the_cheapest_of_all():
    costs = [torch.randn(5, count, generator=torch.Generator().manual_seed(count)) for count in (3, 0, 5, 1)]
    for cost, (queries, objects) in zip(costs, match(costs), strict=True):
        count = cost.shape[1]
        best = min(sum(cost[q, n].item() for n, q in enumerate(each)) for each in permutations(range(5), count))
        assert sorted(objects.tolist()) == list(range(count))
        assert queries.tolist() == sorted(set(queries.tolist()))
        torch.testing.assert_close(cost[queries, objects].sum().item(), float(best))


def test_the_costliest_of_more_objects_than_queries_are_left():
    queries, objects = match([torch.tensor([[5.0, 1.0, 9.0], [7.0, 2.0, 8.0]])])[0]
    assert queries.tolist() == [0, 1]
    assert objects.tolist() == [0, 1]  # 5 + 2 is less than 1 + 7


def test_costs_that_are_not_finite_are_the_last_choice():
    inf, nan = float("inf"), float("nan")
    queries, objects = match([torch.tensor([[nan, 1.0], [3.0, inf], [inf, 2.0]])])[0]
    assert dict(zip(queries.tolist(), objects.tolist(), strict=True)) == {0: 1, 1: 0}
    assert [len(side) for side in match([torch.full((4, 3), nan)])[0]] == [3, 3]


def test_images_without_objects_have_no_pairs():
    for costs in ([torch.zeros(4, 0)], [torch.zeros(4, 0), torch.zeros(4, 2)]):
        queries, objects = match(costs)[0]
        assert queries.dtype == objects.dtype == torch.long
        assert len(queries) == len(objects) == 0
    assert match([]) == []
