"""`python cli.py compare`: the configuration of a `fit`, trained by one process per initialization and seed."""

import yaml

import tasks
from callbacks.run_directory import RunDirectory
from commands.arguments import flatten, parse_known, typed_class
from commands.compare.plan import typed_plan
from commands.compare.runs import check_starts, compare
from commands.fit import CLI
from modules.contracts import ConfigError


class Compare(CLI):
    """`compare`: the configuration of a `fit`, trained by one process per initialization and seed."""

    def __init__(self, argv: list[str]):
        task = vars(tasks).get(typed_class(argv, "model") or "")
        typed = parse_known(argv)
        if not (typed.config or typed.model) and not {"-h", "--help"} & set(argv):
            raise ConfigError("compare needs a task to train: add --config, such as tasks/classification.yaml")
        if task and not issubclass(task, tasks.VisionTask):
            raise ConfigError(f"compare compares initializations of a backbone, but {task.__name__} has none")
        self.plan = typed_plan(argv[1:])
        super().__init__(["fit", *self.plan.typed, "--model.weights", "null"])

    def _run_directory(self) -> RunDirectory:
        check_starts(self.model.backbone, self.plan.starts)  # here, because nothing is written yet
        directory = RunDirectory(self.plan.folder, lambda: None, self.plan.begun)
        directory.claim()
        return directory

    def _run_subcommand(self, subcommand: str) -> None:
        settings = flatten(yaml.safe_load(self._dump()))
        try:
            compare(self.plan, self.model.monitor, self.model.mode, settings, self.trainer, self.directory)
        finally:
            self.summary.say_loggers(self.trainer)
            self.directory.release()
