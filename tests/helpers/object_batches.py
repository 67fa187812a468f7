"""Training batches of objects, and their comparison."""


def epoch(data, number: int = 0) -> list[dict]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def assert_same(ours: list[dict], theirs: list[dict]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert one["id"] == other["id"]
        for key in set(one) & {"image", "size", "inside", "boxes", "labels", "masks"}:
            assert all(a.equal(b) for a, b in zip(one[key], other[key], strict=True)), key
