"""`python -m mllm_avqa` is the same as `mllm-avqa`."""

from mllm_avqa.cli import main

if __name__ == "__main__":
    main()
