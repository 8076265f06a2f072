"""`python run_fake.py score ...`: the command line with the fake rater, for tests that need a real process."""

import sys
import types

import fake_rater

fake = types.ModuleType("mllm_avqa.rater")
fake.Rater = fake_rater.FakeRater  # type: ignore[attr-defined]
sys.modules["mllm_avqa.rater"] = fake

from mllm_avqa.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
