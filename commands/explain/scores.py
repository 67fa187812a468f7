"""Faithfulness of the maps of several methods on the same samples, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from commands.evaluate.extraction import Result
from modules.insight.faithfulness import (
    area,
    center_maps,
    curves,
    energy,
    pointing,
    random_maps,
    randomization,
    stretched,
)
from modules.insight.subject import Subject
from modules.metrics.bootstrap import Items, intervals
from modules.metrics.bootstrap.records import means

PROTOCOLS = {
    "deletion": "area under the scores while the pixels that count most are covered with the mean color, low is good",
    "insertion": "area under the scores while these pixels are shown first, high is good",
    "deletion_below_random": "area of a random smooth map's deletion less the method's, paired; above 0 is good",
    "deletion_below_center": "area of the deletion from the center outward less the method's, paired",
    "pointing": "share of maps whose highest place lies in the object",
    "energy": "share of the map's positive values inside of the object",
    "energy_ratio": "energy over the object's share of the area",
    "neighbor_energy": "share of the map's positive values inside of the other objects",
    "neighbor_energy_ratio": "the same over their share of the area; below 1 is good",
    "randomized": "rank correlation with the map of a network of random weights; near 0 is good",
}


@dataclass
class Faithfulness:
    """Measures of maps: values (B,) of samples by method and measure, and curves.

    Args:
        values: method -> measure -> (B,).
        deletion, insertion: method -> mean curve (steps + 1,).
        correlations: method -> mean rank correlation (depths,) while more and more layers become random.
        layers: the last layer that became random, at each depth.
        known: by measure, indices of the samples that it is of; all of them where it is not named.
    """

    values: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    deletion: dict[str, Tensor] = field(default_factory=dict)
    insertion: dict[str, Tensor] = field(default_factory=dict)
    correlations: dict[str, Tensor] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    known: dict[str, list[int]] = field(default_factory=dict)

    def results(self, split: str, ids: Sequence[str]) -> list[Result]:
        """A row for each measure and method, with its 95 % interval over the samples."""
        found = []
        for measure, protocol in PROTOCOLS.items():
            for method in (name for name, measures in self.values.items() if measure in measures):
                columns = self.values[method][measure].double().numpy()
                judged = np.array(ids)[self.known.get(measure, slice(None))]
                estimate = intervals(Items(judged, means({measure: columns})))[measure]
                one = Result(f"{split}/{method}_{measure}", float(columns.mean()), protocol)
                found.append(one if estimate is None else one._replace(interval=estimate.ends, items=estimate.items))
        return found


def judge(
    subject: Subject,
    maps: Mapping[str, Tensor],
    objects: Mapping[str, Sequence[Tensor | None]],
    again: Callable[[str], Tensor],
    depths: int,
    seed: int,
) -> Faithfulness:
    """Measure the faithfulness of maps beside that of random and center maps.

    Args:
        subject: what is explained.
        maps: of each method, (B, ...).
        objects: of each sample the object under `""`, and what is beside it under `"neighbor_"`, bool (*space); null
            where it is not known.
        again: gives the maps of a method anew, of the network as it is then.
        depths: steps of the randomization of weights; 0 leaves it out.
        seed: of random maps.
    """
    found, space, count = Faithfulness(), tuple(subject.space), len(subject.inputs)
    baselines = {"random": random_maps(count, space, seed), "center": center_maps(count, space)}
    for name, each in {**baselines, **maps}.items():
        deletion, insertion = (one.cpu() for one in curves(subject, each, seed=seed))
        found.deletion[name], found.insertion[name] = deletion.mean(0), insertion.mean(0)
        found.values[name] = {"deletion": area(deletion), "insertion": area(insertion)}
        for prefix, masks in objects.items():
            found.values[name] |= _objects(found, stretched(each.detach().cpu(), space), prefix, masks, name in maps)
    for name in maps:
        for baseline in baselines:
            below = found.values[baseline]["deletion"] - found.values[name]["deletion"]
            found.values[name][f"deletion_below_{baseline}"] = below
        if depths and subject.network is not None:
            layers, correlations = randomization(subject.network, lambda name=name: again(name), depths, seed)
            found.layers[:] = layers
            found.correlations[name] = correlations.mean(1)
            found.values[name]["randomized"] = correlations[-1]
    return found


def _objects(
    found: Faithfulness, maps: Tensor, prefix: str, masks: Sequence[Tensor | None], is_method: bool
) -> dict[str, Tensor]:
    """Pointing game and energy of maps (B, *space), of the samples whose object is known, which go to `found.known`."""
    known = [i for i, mask in enumerate(masks) if mask is not None]
    if not known:
        return {}
    inside, here = torch.stack([mask for mask in masks if mask is not None]).cpu(), maps[known]
    measured = {} if prefix else {"pointing": pointing(here, inside).float()}
    if is_method:
        share = energy(here, inside)
        measured |= {
            f"{prefix}energy": share,
            f"{prefix}energy_ratio": share / inside.flatten(1).float().mean(1),
        }
    found.known.update(dict.fromkeys(measured, known))
    return measured
