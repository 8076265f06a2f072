"""Files that start runs on other hardware: read by the libraries they are for, and of one mind with one another."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ACCELERATE = {  # machines, processes, ZeRO level
    "gpu1.yaml": (1, 1, None),
    "gpu8.yaml": (1, 8, 2),
    "gpu2x8.yaml": (2, 16, 2),
    "cpu2_zero2.yaml": (1, 2, 2),
    "cpu2_zero3.yaml": (1, 2, 3),
}
DEEPSPEED = {"zero2.json": (2, None), "zero3.json": (3, None), "zero3_offload.json": (3, "cpu")}


def deepspeed(path):
    """Stage and offload device as transformers reads them, after it has put in what is "auto"."""
    from transformers import TrainingArguments
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    read = HfTrainerDeepSpeedConfig(str(path))
    args = TrainingArguments(
        output_dir="unused", per_device_train_batch_size=3, gradient_accumulation_steps=2, report_to=[], use_cpu=True
    )
    read.trainer_config_process(args)
    assert read.get_value("train_micro_batch_size_per_gpu") == 3
    assert read.get_value("gradient_accumulation_steps") == 2
    assert "auto" not in str(read.config)
    zero = read.config["zero_optimization"]
    assert read.is_offload() == ("offload_optimizer" in zero)
    return zero["stage"], zero.get("offload_param", {}).get("device")


@pytest.mark.parametrize("name", DEEPSPEED)
def test_deepspeed_settings(name):
    assert deepspeed(ROOT / "train" / "deepspeed" / name) == DEEPSPEED[name]


@pytest.mark.parametrize("name", ACCELERATE)
def test_accelerate_settings(name):
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(ROOT / "train" / "accelerate" / name))
    stage = None
    if read.distributed_type == "DEEPSPEED":
        stage = deepspeed(ROOT / read.deepspeed_config["deepspeed_config_file"])[0]
        assert read.deepspeed_config["zero3_init_flag"] == (stage == 3)
    assert (read.num_machines, read.num_processes, stage) == ACCELERATE[name]
    assert read.use_cpu == name.startswith("cpu")


def test_all_are_known_here():
    for folder, known in (("accelerate", ACCELERATE), ("deepspeed", DEEPSPEED)):
        assert {p.name for p in (ROOT / "train" / folder).iterdir()} == set(known)
