"""Parts of your own, as docs/extending.md shows them: task, networks, data, callback, logger."""

from my_pkg.backbone import MyNet
from my_pkg.callback import MyCallback
from my_pkg.data import MyData
from my_pkg.dataset import MyDataset
from my_pkg.head import MyHead
from my_pkg.logger import MyLogger
from my_pkg.neck import MyNeck
from my_pkg.prediction import NumberFile, Numbers
from my_pkg.task import MyTask

__all__ = [
    "MyCallback",
    "MyData",
    "MyDataset",
    "MyHead",
    "MyLogger",
    "MyNeck",
    "MyNet",
    "MyTask",
    "NumberFile",
    "Numbers",
]
