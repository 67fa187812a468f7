"""`python cli.py advise`: which pretraining to take for given data, by a race."""

import math
from typing import Any

from callbacks.loggers.facts import Facts, tags_of
from callbacks.run_directory import RunDirectory
from callbacks.terminal import print_line
from commands import child
from commands.advise.answer import report
from commands.advise.judge import Judge
from commands.advise.plan import Candidate, typed_plan
from commands.advise.race import Race
from commands.advise.state import State
from commands.arguments import configs_first
from commands.evaluate.features import samples
from commands.fit import CLI
from commands.next_commands import command_line
from commands.parser import Parser, user_error
from modules.contracts import ConfigError, DataError
from modules.training.transfer import load_backbone
from tasks import VisionTask


class Advise(CLI):
    """`advise`: pretraining methods and initial weights of the configuration of a `fit`, raced in processes."""

    def __init__(self, argv: list[str]):
        self.plan = typed_plan(argv[1:])._replace(command=command_line(*argv))
        self.state = State(self.plan)
        super().__init__(["fit", *self.plan.arguments(self.plan.candidates[0])])

    def parse_arguments(self, parser: Parser, args: None) -> None:
        """Parse the configuration of the first candidate that goes with what was typed."""
        self.all, errors = parser, []
        for one in self.plan.candidates:
            try:
                return self._parse(one)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]

    def _parse(self, one: Candidate) -> None:
        self.argv = configs_first(["fit", *self.plan.arguments(one)])
        super().parse_arguments(self.all, None)

    def build_parts(self) -> None:
        """Choose as many candidates as the budget can race and the network can be, and set up the data."""
        self.backbone, self.chosen = "", []
        if self.state.raced:
            self.chosen = [one for one in self.plan.candidates if one.name in self.state.raced]
        else:
            self._choose(self.plan.affordable)
        self.build(self.chosen[0])
        child.check_results(self.settings.trainer.fast_dev_run)
        self._check_data()

    def _choose(self, most: int) -> None:
        errors, lost = [], dict[str, str]()  # starts that cannot be had
        for one in self.plan.candidates:
            try:
                if len(self.chosen) == most:
                    whole = f"{math.ceil(self.plan.needed(len(self.plan.candidates)) / 60)}m"
                    raise ConfigError(
                        f"the budget is too short for more than {most}; --budget {whole} has time for all"
                    )
                if one.start in lost:
                    raise ConfigError(lost[one.start])
                self.build(one)
                self.backbone = self.backbone or self.model.backbone.name
                if self.model.backbone.name != self.backbone:
                    raise ConfigError(f"its network is {self.model.backbone.name}, not {self.backbone}")
                self.chosen.append(one)
            except Exception as raised:
                error = user_error(raised)
                if error is None or (isinstance(error, DataError) and one.weights != "pretrained"):
                    raise  # of a typed file; the library's weights may be out of reach
                if isinstance(error, DataError):
                    lost[one.start] = str(error)
                errors.append(error)
                self.state.out[one.name] = str(error)
        if not self.chosen:
            raise errors[0]

    def build(self, one: Candidate) -> VisionTask:
        """The task of a candidate, with its initial weights.

        Raises:
            ConfigError: it does not go with what was typed, or has no features of images.
            DataError: its initial weights cannot be read.
        """
        self._parse(one)
        super().build_parts()
        if not isinstance(self.model, VisionTask) or "video" in self.model.required_keys:
            raise ConfigError(f"advise judges features of images, which {type(self.model).__name__} does not have")
        if one.weights:
            for backbone in {self.model.backbone, self.model.exported}:
                load_backbone(backbone, one.weights)
        return self.model

    def _samples(self, one: Candidate) -> int:
        """Samples per optimizer step of a candidate, over all devices."""
        self.build(one)
        return self.datamodule.per_step * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def _check_data(self) -> None:
        """Set up the data, and refuse such as no features can be judged on."""
        data, name = self.datamodule, type(self.datamodule).__name__
        data.prepare_data()
        data.setup("fit")
        if data.classes and len(data.classes) == 1:
            raise ConfigError(
                f"advise judges features by how well they tell classes apart, but {name} has one, {data.classes[0]!r}: "
                "sort the images into a folder for each of two classes or more"
            )
        lacking = [split for split in ("train", "val") if data.classes and not data.has(split)]
        if lacking:
            raise ConfigError(f"advise judges features on train and val images, but there is no {lacking[0]} split")
        judged = next(samples(data, "val", "plain", [0])) if data.classes else {}
        if not {"image", "label"} <= judged.keys() or judged["label"].ndim != 1:
            raise ConfigError(
                f"advise judges features of images by their labels, one class each, which {name} does not give: sort "
                "some hundred images into a folder for each class, and add --data ImageFolder --data.root FOLDER"
            )
        data.train_dataloader()

    def _facts(self) -> Facts:
        return Facts("advise", self.plan.command, tags_of(self.model), leads_group=True)

    def _run_directory(self) -> RunDirectory:
        directory = RunDirectory(self.plan.folder, lambda: None, self.plan.begun, fresh=self.plan.fresh)
        directory.claim()
        self.plan = self.plan._replace(folder=directory.path)
        return directory

    def _run_subcommand(self, subcommand: str) -> None:
        data, folder = self.datamodule, self.plan.folder
        trainer: Any = self.trainer
        try:
            with child.stopping(folder):
                self.directory.point_latest()
                judge = Judge(data, trainer)
                for line in (judge.words, *data.describe_classes(remedy=False)):
                    print_line(line)
                race = Race(self.plan, self.chosen, self.state, judge, self.build, self._samples, self.directory.lock)
                for line in race.run():
                    print_line(line)
                report(race, data, trainer)
        finally:
            self.summary.say_loggers(trainer)
            for logger in trainer.loggers:
                logger.finalize("finished")
            self.directory.release()
