import pytest
import torch

from callbacks.terminate_on_nan import Step, TerminateOnNaN
from modules.contracts import DataError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.small_task import Data, Task


def test_stops_at_once_and_says_where(trainer):
    run = trainer(TerminateOnNaN(), max_epochs=2)
    batches = []

    class Recorded(Task):
        def training_step(self, batch, batch_idx):
            batches.append(batch["id"])
            return super().training_step(batch, batch_idx)

    with refuses(DataError, "nan", 1, 4, 0.125, "--model.optim.lr") as caught:
        run.fit(Recorded(lr=0.125, spoil=3), datamodule=Data())
    assert_named(str(caught.value), *batches[3][:3])
    assert run.global_step == 4


def test_a_finite_training_goes_through(trainer):
    run = trainer(TerminateOnNaN(), max_epochs=2)
    run.fit(Task(), datamodule=Data())
    assert run.global_step == 12


def test_an_accelerator_is_read_only_when_looking(trainer, monkeypatch):
    """A loss on the meta device stands for one that must not be waited for."""
    looks = []
    monkeypatch.setattr(TerminateOnNaN, "_check", lambda self: looks.append(len(self._steps)))
    run, callback = trainer(log_every_n_steps=3), TerminateOnNaN()
    for index in range(3):
        loss = torch.zeros((), device="meta")
        callback.on_train_batch_end(run, Task(), {"loss": loss}, {"id": ["a.png"]}, index)
    assert looks == [3]


def test_the_first_of_several_bad_steps_is_named():
    callback = TerminateOnNaN()
    callback._steps = [f"step {i}" for i in range(4)]
    for index, loss in enumerate([1.0, float("inf"), 2.0, float("nan")]):
        callback._note(torch.tensor(loss), index)
    assert callback._first.tolist() == [1.0, float("inf")]


def test_no_checkpoint_is_written_after_a_bad_step_that_was_not_yet_read(trainer, tmp_path):
    class Late(TerminateOnNaN):
        """TerminateOnNaN that reads nothing at the end of a batch, as on an accelerator."""

        def on_train_batch_end(self, run, task, outputs, batch, batch_idx):
            self._note(outputs["loss"], 0)
            self._steps = self._steps or [Step(whose="", step=1, epoch=0, batch=0, rates=[0.1], ids=[])]
            if batch_idx == 2:
                run.save_checkpoint(tmp_path / "poisoned.ckpt")

    with refuses(DataError, "nan", 1, 0.1):
        trainer(Late()).fit(Task(spoil=1), datamodule=Data())
    assert not (tmp_path / "poisoned.ckpt").exists()


def test_steps_without_a_loss_are_passed_over(trainer):
    class Manual(Task):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.optimizers().step()

    trainer(TerminateOnNaN()).fit(Manual(), datamodule=Data())


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_of_two_losses_the_bad_one_is_named(trainer, network):
    class Two(Task):
        def training_step(self, batch, batch_idx):
            good = super().training_step(batch, batch_idx)
            bad = good * float("nan") if batch_idx == 2 else good
            losses = dict.fromkeys(("discriminator_loss", "generator_loss"), good) | {f"{network}_loss": bad}
            return losses | {"loss": good}

    with refuses(DataError, network, "nan", 3):
        trainer(TerminateOnNaN()).fit(Two(), datamodule=Data())
