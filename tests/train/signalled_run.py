"""`python -m train`, except that one rank gets a signal before a step: SIGNAL, AT_RANK, AT_STEP of the environment."""

import os
import signal

from train import ranks
from train.__main__ import app
from train.trainer import RatingTrainer

step = RatingTrainer.training_step


def signalled(self, *args, **kwargs):
    if self.state.global_step == int(os.environ["AT_STEP"]) and ranks.rank() == int(os.environ["AT_RANK"]):
        os.kill(os.getpid(), signal.Signals[os.environ["SIGNAL"]])
    return step(self, *args, **kwargs)


if __name__ == "__main__":  # processes that prepare clips import this file
    RatingTrainer.training_step = signalled
    app()
