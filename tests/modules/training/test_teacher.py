"""The momentum encoder follows its student exactly as its formula says."""

import pytest
import torch
from torch import nn

from modules.backbones import Timm
from modules.contracts import Backbone, Features
from modules.heads import Projection
from modules.heads.base import Head
from modules.training.teacher import Teacher, momentum_at


class Layer(Backbone):
    """One linear layer, whose outputs are maps of a single cell."""

    def __init__(self):
        super().__init__()
        self.net, self.features = nn.Linear(3, 4), Features([4], [1])

    @property
    def weight(self) -> torch.Tensor:
        return self.net.weight

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.net(x)[..., None, None]]


class Norm(nn.BatchNorm1d, Head):
    pools = True


def pair() -> tuple[nn.Module, Teacher]:
    backbone, head = Layer(), Norm(4)
    student = Student(backbone, head)
    return student, Teacher(backbone, head)


class Student(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        backbone, head = self
        return head(backbone.pool(backbone(x)))


def test_moves_by_the_exponential_moving_average():
    student, teacher = pair()
    start = teacher.net[0].weight.clone()
    with torch.no_grad():
        student[0].weight.fill_(2.0)
    teacher.update(0.9)
    torch.testing.assert_close(teacher.net[0].weight, 0.9 * start + 0.1 * 2.0)
    teacher.update(0.9)
    torch.testing.assert_close(teacher.net[0].weight, 0.81 * start + 0.19 * 2.0)


def test_starts_as_its_student_and_has_no_gradient():
    student, teacher = pair()
    x = torch.randn(5, 3)
    torch.testing.assert_close(teacher(x), student(x).detach())
    assert not teacher(x).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_its_batch_norm_statistics_are_its_own():
    student, teacher = pair()
    teacher(torch.randn(64, 3) + 5)
    teacher.update(0.0)
    assert not torch.equal(teacher.net[1].running_mean, student[1].running_mean)
    teacher.reset()
    assert torch.equal(teacher.net[1].running_mean, student[1].running_mean)


def test_its_tensors_appear_once_and_not_under_the_students_name():
    backbone = Timm("test_resnet")
    holder = nn.Module()
    holder.backbone, holder.teacher = backbone, Teacher(backbone, Projection(backbone.features))
    names = list(holder.state_dict())
    assert sum(name.startswith("backbone.net.") for name in names) == len(backbone.net.state_dict())
    assert all(name.startswith(("backbone.", "teacher.net.0.", "teacher.net.1.")) for name in names)


def test_it_never_drops():
    backbone = Timm("test_convnext", drop_path=0.5)
    teacher = Teacher(backbone, Projection(backbone.features, norm=False)).train()
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(teacher(image), teacher(image))
    assert any(m.drop_prob for m in backbone.modules() if hasattr(m, "drop_prob"))


def test_momentum_rises_in_a_cosine():
    values = [momentum_at(step, 100, 0.9, 1.0) for step in (0, 50, 100, 200)]
    assert values == pytest.approx([0.9, 0.95, 1.0, 1.0])
