"""`python cli.py tune`: a search for better settings of a `fit`, trained by one process per trial."""

from collections.abc import Mapping
from typing import Any

import yaml

from callbacks.loggers.facts import Facts, tags_of
from callbacks.run_directory import RunDirectory
from callbacks.terminal import print_line
from commands import child
from commands.arguments import configs_first, flatten
from commands.defaults import completed
from commands.extras import require
from commands.fit import CLI
from commands.given_settings import typed_names
from commands.next_commands import command_line
from commands.parser import user_error
from commands.tune.directory import SharedDirectory
from commands.tune.plan import typed_plan
from commands.tune.search import Search
from commands.tune.space import Space, default_space, encoded, print_space, probes, read_space
from commands.tune.sweep import sweep
from commands.tune.watch import Metric
from modules.contracts import ConfigError

SET_BY_TUNE = "tune sets it for each trial itself: delete it there"
OTHER_TEST = "trials of other folds are not compared: type it as an option, or use compare --folds"
NOT_SEARCHED = {
    **dict.fromkeys(("seed_everything", "run_dir", "ckpt_path", "config"), SET_BY_TUNE),
    **dict.fromkeys(("data.folds", "data.held_out_fold"), OTHER_TEST),
    "find_lr": "tune searches the learning rate itself: delete it there, or type --steps for its range test",
}
"""Settings that no space has, and why."""


class Tune(CLI):
    """`tune`: the configuration of a `fit`, trained by one process per trial of a space of settings."""

    def __init__(self, argv: list[str]):
        child.check_named(argv)
        self.command = command_line(*argv)
        self.plan = typed_plan(argv[1:])._replace(command=self.command)
        child.check_alone("tune")
        if not self.plan.shown:
            require("tune", "optuna")
        self.space = read_space(self.plan.space) if self.plan.space else {}
        self._check_space()
        super().__init__(["fit", *self.plan.typed])

    def _check_space(self) -> None:
        for name in self.space:
            if reason := NOT_SEARCHED.get(name):
                raise ConfigError(f"{self.plan.space}: {name} is no setting to search: {reason}")
        searched = {name for words in probes(self.space) for name in typed_names(words)}
        if twice := sorted(searched & typed_names(self.plan.typed)):
            raise ConfigError(f"{self.plan.space}: {twice[0]} is searched, but typed too: leave one of them out")

    def parse_arguments(self, parser: Any, args: None) -> None:
        """Parse the configuration as it is, after every bound and choice of the space."""
        self.probed = []
        for words in probes(self.space):
            self.argv = configs_first(["fit", *self.plan.typed, *words])
            try:
                super().parse_arguments(parser, args)
            except ConfigError as error:
                raise ConfigError(f"{self.plan.space}: {error}") from error
            self.probed.append(self.config)
        self.argv = configs_first(["fit", *self.plan.typed])
        super().parse_arguments(parser, args)

    def instantiate_classes(self) -> None:
        if not self.plan.shown:
            super().instantiate_classes()
            return
        self.build_parts()
        shown = {"space": lambda: print_space(self.space), "wandb": lambda: sweep(self.plan, self.space, self.metric)}
        print(shown[self.plan.shown](), end="")

    def build_parts(self) -> None:
        """Build data and model, which shows what is wrong before the first trial, and complete the space."""
        given = self.config
        for config in self.probed:
            self.config = config
            try:
                super().build_parts()
            except Exception as error:
                cause = user_error(error)
                if cause is None:
                    raise
                raise type(cause)(f"{self.plan.space}: {cause}") from error
        self.config = given
        super().build_parts()
        trainer = self.settings.trainer
        child.check_results(trainer.fast_dev_run)
        if self.settings.find_lr:
            raise ConfigError(
                "tune searches the learning rate itself: leave --find_lr out, or type --steps for its range test"
            )
        self.metric = self._metric()
        self.flat = flatten(yaml.safe_load(self._dump()), skip="init_args")
        if not self.space:
            self.space = default_space(self.flat, typed_names(self.plan.typed), self.metric.name != "val/loss")
        if not self.space:
            raise ConfigError("there is nothing to search: all settings of the default space were typed; add --space")
        if self.plan.shown:
            return
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        if trainer.limit_val_batches == 0:
            raise ConfigError("trainer.limit_val_batches is 0, but tune compares trials on the val set: leave it out")
        if not self.datamodule.has("val"):
            raise ConfigError("tune compares trials on a val set, which there is none of: add --data.val_split 0.1")

    def _facts(self) -> Facts:
        return Facts("tune", self.command, tags_of(self.model), leads_group=True)

    def _metric(self) -> Metric:
        """The task's monitor; the accuracy of kNN for a pretraining that has it, whose loss says less."""
        trainer, name, mode = self.settings.trainer, self.model.monitor, self.model.mode
        inside = round(1 / trainer.val_check_interval) if isinstance(trainer.val_check_interval, float) else 1
        every, more = trainer.check_val_every_n_epoch or 1, 0
        knn = next((c for c in trainer.callbacks or () if c.class_path.rpartition(".")[2] == "KNN"), None)
        if self.model.pretraining and knn:
            name, mode, inside, every, more = "val/knn", "max", 1, knn.init_args.every, 1
        epochs = trainer.max_epochs if (trainer.max_epochs or 0) > 0 else None
        return Metric(name, mode, epochs or float("inf"), max(1, inside * epochs // every) + more if epochs else 0)

    def _run_directory(self) -> RunDirectory:
        folder = self.plan.folder
        if self.plan.steps:
            begun = (folder / "steps.json").is_file()
            directory = RunDirectory(folder, lambda: None, resumed=begun, fresh=self.plan.fresh)
        else:
            directory = SharedDirectory(folder, self.plan.fresh)
        directory.claim()
        self.plan = self.plan._replace(folder=directory.path)
        return directory

    def _run_subcommand(self, subcommand: str) -> None:
        if self.plan.shown:
            return
        try:
            with child.stopping(self.plan.folder):
                if self.plan.steps:
                    self._walk()
                else:
                    self._search()
        finally:
            self.summary.say_loggers(self.trainer)
            for logger in self.trainer.loggers:
                logger.finalize("finished")
            self.directory.release()

    def _search(self) -> None:
        from commands.tune.report import report, write_files
        from commands.tune.study import Trials

        plan, seed = self.plan, self.settings.seed_everything
        trials = Trials(plan.folder, self.space, plan.sampler, self.metric.mode, seed, self.metric.validations)
        default = {name: encoded(self.flat.get(name)) for name in self.space}
        trials.begin(self._identity(), default, self._completed)
        self.directory.point_latest()
        print_line(f"trials in {plan.folder}/trials/, output of each beside it")
        search = Search(plan, trials, self.metric, seed)
        for line in search.run():
            print_line(line)
            write_files(search)
        for line in search.confirm():
            print_line(line)
        report(search, self.trainer)

    def _walk(self) -> None:
        from commands.tune.findings import Findings
        from commands.tune.first_steps import FirstSteps
        from commands.tune.steps import Steps

        self.directory.point_latest()
        build = self._parser(self.subcommand).instantiate
        first = FirstSteps(self.settings, self.datamodule, build, self.plan.folder)
        suited = first if self.model.automatic_optimization else None
        seed = self.settings.seed_everything
        findings = Findings(self.plan.folder, self.flat, self._completed)
        steps = Steps(self.plan, self.space, self.metric, findings, seed, suited, self.trainer)
        for line in steps.walk(self.command):
            print_line(line)

    def _completed(self, then: Mapping[str, Any]) -> dict[str, Any]:
        return completed(then, self.flat, self._parser(self.subcommand))

    def _identity(self) -> dict[str, Any]:
        """All that trials of one study have in common."""
        space: Space = self.space
        return {**self.flat, "sampler": self.plan.sampler} | {f"space of {n}": d.plain() for n, d in space.items()}
