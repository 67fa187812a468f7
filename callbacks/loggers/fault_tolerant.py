"""Fault-tolerant experiment tracking: the first error of a logger is reported, and training continues without it."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from callbacks.loggers.wandb_run import DeferredRun
from callbacks.terminal import print_line

GUARDED = ("save", "finalize", "after_save_checkpoint", "watch", "advice")  # and everything called log*

FAILED: "WeakSet[Logger]" = WeakSet()
"""Loggers that are not `FaultTolerant` and failed in `attempt`."""


class FaultTolerant:
    """Mixin of a logger: the first exception of any logging method is reported, then the logger stays silent.

    A logger with a `fall_back` method (W&B: an offline run) is asked to continue there first.
    """

    failed = False
    inside = False  # a logging method that calls another

    def attempt(self, action: Callable[[], Any], default: Any = None) -> Any:
        """Result of `action`; `default` once the logger has failed."""
        if self.failed:
            return default
        if self.inside:
            return action()
        self.inside = True
        try:
            return action()
        except Exception as error:  # network, service, disk and client libraries raise dozens of types
            if self._continues(error):
                self.inside = False
                return self.attempt(action, default)
            self.failed = True
            _say(f"{self._called} failed and logs no further: {reason(error)}; training goes on without it")
            return default
        finally:
            self.inside = False

    def _continues(self, error: Exception) -> bool:
        fall_back = getattr(self, "fall_back", None)
        if fall_back is None:
            return False
        try:
            where = fall_back()
        except Exception:  # the first error is the one to report
            return False
        if where:
            _say(f"{self._called} failed: {reason(error)}; {where}")
        return bool(where)

    @property
    def _called(self) -> str:
        return "W&B" if isinstance(self, WandbLogger) else type(self).__name__


def attempt(logger: Logger, action: Callable[[], Any]) -> None:
    """Run a call that sends something to a logger, fault-tolerantly, also where the logger is not `FaultTolerant`.

    Such a logger, of a trainer made in Python, is not asked by this function again after its first exception.
    """
    if isinstance(logger, FaultTolerant):
        logger.attempt(action)
    elif logger not in FAILED:
        try:
            action()
        except Exception as error:
            FAILED.add(logger)
            _say(f"{type(logger).__name__} takes no further figures: {reason(error)}; training goes on without them")


def fault_tolerant(logger: Logger, **state: Any) -> Logger:
    """The same logger, of its class made `FaultTolerant`; a W&B run also begins late and falls back to offline.

    Args:
        logger: of any class.
        state: further attributes, such as `counter` of `DeferredRun`.
    """
    shared = vars(logger)
    shared.update(state)
    return _restore(type(logger), shared)


@cache
def _tolerant(kind: type[Logger]) -> type[Logger]:
    bases = (DeferredRun, kind) if issubclass(kind, WandbLogger) else (kind,)
    base = type(kind.__name__, bases, {"__module__": kind.__module__})
    names = [name for name in dir(base) if name.startswith("log") or name in GUARDED]
    body: dict[str, Any] = {n: _guard(base, n) for n in names if inspect.isfunction(getattr(base, n))}
    if hasattr(base, "experiment"):  # Lightning's base class has none
        body["experiment"] = property(
            lambda self: self.attempt(lambda: base.experiment.fget(self), None) or DummyExperiment()
        )
    # a process that is spawned gets the logger as a pickle, which must find the class
    body["__reduce__"] = lambda self: (_restore, (kind, self.__getstate__()))
    return type(kind.__name__, (FaultTolerant, base), body | {"__module__": kind.__module__})


def _guard(base: type[Logger], name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.attempt(lambda: getattr(base, name)(self, *args, **kwargs))

    return method


def _restore(kind: type[Logger], state: dict[str, Any]) -> Logger:
    logger = object.__new__(_tolerant(kind))
    logger.__dict__ = state
    return logger


def reason(error: Exception) -> str:
    """First line of what an error says, else its type."""
    lines = str(error).strip().splitlines()
    if len(lines) > 2 and "validation error" in lines[0]:  # of pydantic, which counts errors before it names them
        lines = [f"{lines[1].strip()}: {lines[2].strip().partition(' [type=')[0]}"]
    return lines[0].rstrip(".") if lines else type(error).__name__


@rank_zero_only
def _say(line: str) -> None:
    print_line(line)
