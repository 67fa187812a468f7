"""Optuna study in a run directory that several processes, also of several machines, work on at once."""

import fcntl
import json
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from commands.tune.journal import JOURNAL, lock, mend
from commands.tune.space import Space, grid
from modules.contracts import ConfigError, DataError, writing

if TYPE_CHECKING:
    import optuna

NAME = "tune"
STALE = 60
"""Seconds without a heartbeat after which a trial of another machine counts as abandoned."""
LARGEST_GRID = 10_000
ATTEMPTS = 20
"""Draws of a sampler in a row that were tried before, after which there is nothing new."""
DEFAULT, REPEATED = "default", "repeats"


class Claim:
    """One job of one process at a time: a lock on a file, with the machine's name in it and its time as heartbeat.

    The kernel gives the lock back when the process, and the child that inherited it, are dead. Where locks do not reach
    other machines, the heartbeat keeps them away.

    Args:
        file: locked.
    """

    def __init__(self, file: IO[str]):
        self.file = file

    @classmethod
    def take(cls, path: Path) -> "Claim | None":
        """The claim on a file; null while another process has it."""
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        file.seek(0)
        owner, here = file.read(), socket.gethostname()
        age = _now(path.parent) - path.stat().st_mtime
        if owner and owner != here and age < STALE:
            file.close()
            return None
        file.truncate(0)
        file.write(here)
        file.flush()
        return cls(file)

    def beat(self) -> None:
        """Renew the heartbeat."""
        os.utime(self.file.fileno())

    def release(self) -> None:
        """Give the job back; the next one to take it need not wait."""
        self.file.truncate(0)
        self.file.close()


def _now(folder: Path) -> float:
    """Time of the file system, which is not always that of this machine."""
    probe = folder / f".time_{socket.gethostname()}_{os.getpid()}"
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return now


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that changes which jobs there are."""
    with writing(folder), (folder / ".jobs.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Trials:
    """Trials of a study: the shipped default first, then as many others as asked for.

    Args:
        folder: the run directory.
        space: settings to search.
        sampler: `tpe`, `random` or `grid`.
        mode: whether more ("max") or less ("min") of the metric is better.
        seed: of the sampler.
        validations: in a whole training; successive halving stops at a ninth and a third of them.

    Raises:
        DataError: the journal is damaged; names the line.
    """

    def __init__(self, folder: Path, space: Space, sampler: str, mode: str, seed: int, validations: int):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.space, self.sampler, self.seed = folder, space, sampler, seed
        self.attempts = ATTEMPTS
        with alone(folder):
            mend(folder / JOURNAL)
            backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL), lock(folder / JOURNAL))
            self.storage = optuna.storages.JournalStorage(backend)
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=NAME,
                direction={"min": "minimize", "max": "maximize"}[mode],
                load_if_exists=True,
                pruner=optuna.pruners.SuccessiveHalvingPruner(max(1, validations // 9), reduction_factor=3),
            )

    def begin(
        self,
        settings: Mapping[str, Any],
        default: Mapping[str, Any],
        completed: Callable[[Any], dict[str, Any]] = dict,
    ) -> None:
        """Describe a new study and queue its first trials; check that one that is there is of the same configuration.

        Args:
            settings: flat configuration, space and sampler.
            default: value of each setting of the space in the configuration.
            completed: adds to an older configuration what it lacks.

        Raises:
            DataError: the study there has another setting; names it.
        """
        with alone(self.folder):
            then = self.study.user_attrs.get("settings")
            now = json.loads(json.dumps(settings))
            if then is not None:
                then = completed(then)
                for key in sorted(then.keys() | now.keys()):
                    if then.get(key) != now.get(key):
                        raise DataError(
                            f"{self.folder} holds a study with {key} {_said(then, key)}, not {_said(now, key)}: type "
                            "what was typed then, or choose another --run_dir"
                        )
                return
            inside = {name: value for name, value in default.items() if self.space[name].holds(value)}
            queued = [inside, *(self._grid(inside) if self.sampler == "grid" else ())]
            self.study.set_user_attr(DEFAULT, inside)
            for params in queued[len(self.study.get_trials(deepcopy=False)) :]:  # all, unless a process was killed here
                self.study.enqueue_trial(params)
            self.study.set_user_attr("settings", now)

    def _grid(self, default: Mapping[str, Any]) -> list[dict[str, Any]]:
        import numpy as np

        size = int(np.prod([len(each.points()) for each in self.space.values()], dtype=float))
        if size > LARGEST_GRID:
            raise ConfigError(f"the grid has {size:,} trials: list fewer values, give steps, or use --sampler random")
        cells = [cell for cell in grid(self.space) if cell != default]
        return [cells[i] for i in np.random.default_rng(self.seed).permutation(len(cells))]

    def take(self, count: float) -> "tuple[optuna.Trial, Claim] | None":
        """A trial that no living process has: one that was abandoned, else a new one while there are not yet `count`.

        Null when there is none, or the space is exhausted.
        """
        from optuna.trial import Trial, TrialState

        with alone(self.folder):
            known = self.all()
            for frozen in known:
                if frozen.state == TrialState.RUNNING and (claim := Claim.take(self.claim_file(frozen.number))):
                    return self._suggest(Trial(self._drawing(frozen.number), frozen._trial_id)), claim
            while len(known) < count and self.attempts:
                number = len(self.study.get_trials(deepcopy=False))
                waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
                if self.sampler == "grid" and not waiting:
                    return None
                self.attempts -= 1
                trial = self._suggest(self._drawing(number).ask())
                if trial.number == 0 or all(trial.params != other.params for other in known):
                    claim = Claim.take(self.claim_file(trial.number))
                    assert claim is not None, "new trials are made under the lock"
                    self.attempts = ATTEMPTS
                    return trial, claim
                trial.set_user_attr(REPEATED, True)  # same settings and seed, same result
                self.study.tell(trial, state=TrialState.FAIL)
        return None

    def all(self) -> "list[optuna.trial.FrozenTrial]":
        """Trials that were begun, in their order."""
        from optuna.trial import TrialState

        found = self.study.get_trials(deepcopy=False)
        return [t for t in found if t.state != TrialState.WAITING and REPEATED not in t.user_attrs]

    def finished(self) -> "list[optuna.trial.FrozenTrial]":
        """Trials that were trained to their end, best first."""
        from optuna.study import StudyDirection
        from optuna.trial import TrialState

        found = [trial for trial in self.all() if trial.state == TrialState.COMPLETE]
        return sorted(found, key=lambda t: t.value or 0.0, reverse=self.study.direction == StudyDirection.MAXIMIZE)

    def running(self) -> int:
        """Number of trials that were begun and not ended, by whichever process."""
        return sum(not trial.state.is_finished() for trial in self.all())

    def run_folder(self, number: int) -> Path:
        """Run directory of a trial."""
        return self.folder / "trials" / f"{number:03d}"

    def claim_file(self, number: int) -> Path:
        """File whose lock says who trains a trial."""
        return self.folder / "trials" / f".{number:03d}.claim"

    def _suggest(self, trial: "optuna.Trial") -> "optuna.Trial":
        """The trial with a value for every setting; those it has stay. The default has those that the space holds."""
        for name, dimension in self.space.items():
            if trial.number or name in self.study.user_attrs[DEFAULT]:
                trial._suggest(name, dimension.distribution())
        return trial

    def _drawing(self, number: int) -> "optuna.Study":
        """The study for one trial: its sampler's random numbers follow from the number, whoever draws it and when."""
        import optuna
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import RandomSampler, TPESampler

        seed = (self.seed * 100_003 + number) % 2**32
        if self.sampler != "tpe":
            sampler = RandomSampler(seed)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                sampler = TPESampler(n_startup_trials=6, multivariate=True, group=True, constant_liar=True, seed=seed)
        return optuna.load_study(study_name=NAME, storage=self.storage, sampler=sampler, pruner=self.study.pruner)


def _said(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "unset"
