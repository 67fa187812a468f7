"""`python cli.py compare`: the configuration of a `fit`, trained by one process per variant and repetition."""

from functools import partial

import yaml

import tasks
from callbacks.loggers.facts import Facts, tags_of
from callbacks.run_directory import RunDirectory
from callbacks.terminal import print_line
from commands.arguments import configs_first, flatten, typed_class
from commands.child import check_named, check_results
from commands.compare.plan import typed_plan
from commands.compare.runs import compare
from commands.defaults import completed
from commands.fit import CLI
from commands.next_commands import command_line
from commands.parser import Parser
from modules.contracts import ConfigError
from modules.training.transfer import load_backbone


class Compare(CLI):
    """`compare`: the configuration of a `fit`, trained by one process per variant and repetition."""

    def __init__(self, argv: list[str]):
        task = vars(tasks).get(typed_class(argv, "model") or "")
        check_named(argv)
        self.command = command_line(*argv)
        self.plan = typed_plan(argv[1:])._replace(command=self.command)
        if self.plan.starts and task and not issubclass(task, tasks.VisionTask):
            raise ConfigError(f"--weights compares initializations of a backbone, but {task.__name__} has none")
        super().__init__(["fit", *self.plan.typed])

    def parse_arguments(self, parser: Parser, args: None) -> None:
        """Parse the configuration of every variant; the first one, parsed last, gives the comparison its trainer."""
        self.configs = {}
        for name in reversed(self.plan.variants):
            self.argv = configs_first(["fit", *self.plan.arguments(name, self.plan.repeats[0])])
            super().parse_arguments(parser, args)
            same = next((other for other, config in self.configs.items() if config == self.config), None)
            if same:
                raise ConfigError(f"{name} and {same} have the same settings: leave one of the values out")
            self.configs[name] = self.config

    def build_parts(self) -> None:
        """Build data and model of every variant and load its weights; what is wrong shows before the first training."""
        self.flat, judged, loaded, read = {}, {}, [], []
        for name, config in self.configs.items():
            self.config = config
            super().build_parts()
            self.flat[name] = flatten(yaml.safe_load(self._dump()), skip="init_args")
            if self.settings.data not in read:  # what shows only when data is read
                self.datamodule.prepare_data()
                self.datamodule.setup("fit")
                self.datamodule.train_dataloader()
                read.append(self.settings.data)
            judged[self.model.monitor, self.model.mode] = name
            starts = isinstance(self.model, tasks.VisionTask) and self.model.weights
            if starts and self.settings.model not in loaded:
                print_line(f"{name}: {load_backbone(self.model.backbone, starts, self.model.classifier)}")
                loaded.append(self.settings.model)
        if len(judged) > 1:
            (first, one), (second, other), *_ = ((monitor, name) for (monitor, _), name in judged.items())
            raise ConfigError(f"{one} is judged by {first}, but {other} by {second}: they cannot be compared")
        check_results(self.settings.trainer.fast_dev_run)

    def _run_directory(self) -> RunDirectory:
        directory = RunDirectory(self.plan.folder, lambda: None, self.plan.begun, fresh=self.plan.fresh)
        directory.claim()
        self.plan = self.plan._replace(folder=directory.path)
        return directory

    def _facts(self) -> Facts:
        return Facts("compare", self.command, tags_of(self.model), leads_group=True)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            known = partial(completed, parser=self._parser(subcommand))
            compare(self.plan, self.model, self.datamodule, self.flat, known, self.trainer, self.directory)
        finally:
            self.summary.say_loggers(self.trainer)
            for logger in self.trainer.loggers:
                logger.finalize("finished")
            self.directory.release()
