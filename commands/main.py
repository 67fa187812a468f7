"""Entry of every command: choose it, answer mistakes with a sentence, and return the exit code."""

import sys
import time

from lightning.pytorch.utilities import rank_zero_only

import callbacks
from callbacks.terminal import print_line
from commands.advise.command import Advise
from commands.answers import report
from commands.arguments import normalized, parse_known, without
from commands.attack.command import attack
from commands.backbones.command import backbones
from commands.check.command import check
from commands.checkpoints import with_newest
from commands.cluster import launched, requeue
from commands.compare.command import Compare
from commands.demo.command import demo
from commands.dream.command import run_dream
from commands.early_checks import check_early, nothing_saved
from commands.export.command import Export
from commands.features.command import features
from commands.fit import CLI
from commands.home import expand_word
from commands.inspect.command import inspect
from commands.next_commands import command_line
from commands.parser import user_error
from commands.part_help import show_part_help
from commands.plugins import load_plugins
from commands.processes import Lost, Terminated, ended_by_signals
from commands.push.command import push
from commands.report.command import report as report_run
from commands.serve.command import serve
from commands.silence import silence_messages
from commands.stylize.command import run_stylize
from commands.tune.command import Tune
from commands.yaml_text import check_yaml


def _again(argv: list[str], name: str, value: str) -> str:
    """The command that goes on with a run that was stopped; with --ckpt_path auto the same one."""
    auto = parse_known(argv).ckpt_path == "auto"
    return command_line(*(argv if auto else [*without(argv, name), name, value]))


@rank_zero_only
def _answer(line: str) -> None:
    """Print a line, if any, in the first process."""
    if line:
        print_line(line)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 1 is for data and files, 2 for settings, 128 + n for signal n.

    Args:
        argv: the arguments; null for those of the process.
    """
    argv = [expand_word(word) for word in (sys.argv[1:] if argv is None else argv)]
    debug = "--debug" in argv
    argv = normalized([word for word in argv if word != "--debug"])
    silence_messages()
    try:
        check_early(argv)
        check_yaml(argv)
        argv = with_newest(argv)
        load_plugins()
        show_part_help(argv)
        command = {
            "compare": Compare,
            "tune": Tune,
            "advise": Advise,
            "export": Export,
            "report": lambda argv: report_run(argv[1:]),
            "push": lambda argv: push(argv[1:]),
            "check": lambda argv: check(argv[1:]),
            "features": lambda argv: features(argv[1:]),
            "inspect": lambda argv: inspect(argv[1:]),
            "demo": lambda argv: demo(argv[1:]),
            "serve": lambda argv: serve(argv[1:]),
            "stylize": lambda argv: run_stylize(argv[1:]),
            "dream": lambda argv: run_dream(argv[1:]),
            "attack": lambda argv: attack(argv[1:]),
            "backbones": lambda argv: backbones(argv[1:]),
        }.get("".join(argv[:1]), CLI)
        with ended_by_signals():
            command(argv)
    except callbacks.Stopped as stop:
        _answer(f"stopped and saved; go on with: {_again(argv, stop.option, str(stop))}")
        _answer(requeue(parse_known(argv).ckpt_path, stop.signal))
        return 128 + stop.signal  # as the shell counts
    except Terminated as end:
        saved = f"stopped after the last saved step; go on with: {_again(argv, '--ckpt_path', str(end.saved))}"
        _answer(saved if end.saved else nothing_saved(argv))
        _answer(requeue(parse_known(argv).ckpt_path, end.signal))
        return 128 + end.signal
    except Lost as lost:
        if debug:
            raise
        if str(lost):  # else that process has said it
            print(f"error: {lost}", file=sys.stderr)
        return lost.code
    except Exception as error:
        cause = user_error(error)
        if debug or cause is None:
            raise
        if launched():
            time.sleep(1)  # the first process ends this one, if it has the same to say
        return report(cause)
    return 0
