"""The search as a sweep of W&B, whose agents start `fit`."""

import shlex
import sys
from pathlib import Path

import yaml

from commands.overview import program
from commands.tune.plan import Plan
from commands.tune.space import Space
from commands.tune.watch import Metric
from commands.yaml_text import Dumper

METHODS = {"tpe": "bayes", "random": "random", "grid": "grid"}


def sweep(plan: Plan, space: Space, metric: Metric) -> str:
    """YAML for `wandb sweep`: the same space, metric and number of runs, and successive halving (hyperband).

    Args:
        plan: of the search; `tpe` becomes W&B's `bayes`.
        space: settings to search.
        metric: that runs are judged by.
    """
    words = shlex.split(program())
    installed = Path(words[0]).name == "graft"
    start = [words[0]] if installed else ["${interpreter}", "${program}"]
    grid = plan.sampler == "grid"
    parameters = {n: {"values": d.points()} if grid else d.sweep() for n, d in space.items()}
    found = {
        "program": words[-1] if not installed else sys.argv[0],
        "command": ["${env}", *start, "fit", *plan.typed, "${args}"],
        "method": METHODS[plan.sampler],
        "metric": {"name": metric.name, "goal": {"max": "maximize", "min": "minimize"}[metric.mode]},
        "early_terminate": {"type": "hyperband", "eta": 3, "min_iter": max(1, metric.validations // 9)},
        **({"run_cap": plan.trials} if plan.trials else {}),
        "parameters": parameters,
    }
    return yaml.dump(found, Dumper=Dumper, default_flow_style=None, sort_keys=False, width=120)
