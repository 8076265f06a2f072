# mllm-avqa serve, in a container: not root, and nothing is written but under /tmp.
#
#   docker build -t mllm-avqa .
#   docker run --rm --read-only --tmpfs /tmp -p 8000:8000 mllm-avqa
#
# CUDA: torch from PyPI has it; run with --gpus all.
# Smaller, for a CPU alone: --build-arg TORCH_INDEX=ADDRESS, the index of torch's own CPU builds.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY prompts prompts
COPY mllm_avqa mllm_avqa
ARG TORCH_INDEX=
RUN python -m venv /opt/avqa \
 && if [ -n "$TORCH_INDEX" ]; then /opt/avqa/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; fi \
 && /opt/avqa/bin/pip install --no-cache-dir ".[serve]"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 10001 avqa
COPY --from=build /opt/avqa /opt/avqa
ENV PATH=/opt/avqa/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
USER avqa
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"
ENTRYPOINT ["mllm-avqa"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
