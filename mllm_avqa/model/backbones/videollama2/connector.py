"""The spatio-temporal convolution between vision tower and language model (STC connector, arXiv 2406.07476, 3.1).

Two stages of RegNet blocks (arXiv 2003.13678) look around within a frame; between them a 3-D convolution makes one
token of two frames x two rows x two columns. Parameter names are those of the published weights.
"""

from __future__ import annotations

import torch
from torch import nn

EPS = 1e-5  # of the norms inside the blocks
DEPTH = 4  # blocks of a stage
SQUEEZE = 0.25  # width of the excitation relative to the block's input


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NormedConv(nn.Module):
    """Convolution without bias, norm, and SiLU unless `act` is False. Keeps height and width."""

    def __init__(self, inputs: int, outputs: int, side: int = 1, groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, groups=groups, bias=False)
        self.bn = ChannelNorm(outputs, eps=EPS)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.bn(self.conv(x)))
        return out


class Excitation(nn.Module):
    """Squeeze and excitation (arXiv 1709.01507): the frame's mean decides how much of each channel passes."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.fc2(nn.functional.silu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


class Block(nn.Module):
    """RegNet-Y bottleneck of ratio 1 whose middle convolution is depthwise."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(inputs, outputs)
        self.conv2 = NormedConv(outputs, outputs, side=3, groups=outputs)
        self.se = Excitation(outputs, round(inputs * SQUEEZE))
        self.conv3 = NormedConv(outputs, outputs, act=False)
        self.downsample = NormedConv(inputs, outputs, act=False) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.downsample(x) + self.conv3(self.se(self.conv2(self.conv1(x)))))


def stage(inputs: int, outputs: int) -> nn.Sequential:
    blocks = nn.Sequential()
    for i in range(DEPTH):
        blocks.add_module(f"b{i + 1}", Block(inputs if i == 0 else outputs, outputs))
    return blocks


class STCConnector(nn.Module):
    """Frame features -> tokens of the language model, version 3.5 (no padding in the sampler)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.s1 = stage(inputs, width)
        self.sampler = nn.Sequential(nn.Conv3d(width, width, kernel_size=2, stride=2), nn.SiLU())
        self.s2 = stage(width, width)
        self.readout = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, H, W, D] features of one view -> [T // 2 * (H // 2) * (W // 2), width], time slowest.

        An odd last frame, row or column is seen by its neighbours in the first stage, but makes no token.
        """
        x = self.s1(x.permute(0, 3, 1, 2))
        x = self.sampler(x.transpose(0, 1)[None])[0].transpose(0, 1)  # time is a dimension only here
        x = self.s2(x)
        out: torch.Tensor = self.readout(x.permute(0, 2, 3, 1).flatten(0, 2))
        return out
