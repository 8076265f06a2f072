"""Peak memory of a process that scores 5, 20 and 60 clips: it must not grow with their number.

Only the last step is judged: 5 clips do not fill the pipeline yet (at most 8 windows are held at a time).
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.base import Measured, Options, Ratio, child, make_clip
from mllm_avqa.rater import resolve_checkpoint

COUNTS = (5, 20, 60)
CHILD = """
import resource, sys
from benchmarks.clock import living_children
from mllm_avqa.rater import Rater

def high_water(pid):  # KiB; unlike ru_maxrss of a child it does not begin at the size of the process that forked it
    with open(f"/proc/{pid}/status") as f:
        return max((int(line.split()[1]) for line in f if line.startswith("VmHWM")), default=0)

rater = Rater.from_pretrained(sys.argv[1], threads=int(sys.argv[2]) or None)
for _ in rater.rate_many([sys.argv[4]] * int(sys.argv[3])):
    pass
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoder = max((high_water(pid) for pid in living_children()), default=0)
rater.close()
print(own, decoder)
"""


def run(settings: Options) -> Measured:
    checkpoint = resolve_checkpoint(settings.checkpoint)
    peaks: dict[int, list[float]] = {}  # MB of the scoring process, of the decoder beside it
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(settings.clip, Path(folder) / "clip.mp4", height=360, seconds=4.0)
        for n in COUNTS:
            peaks[n] = child(CHILD, checkpoint, settings.threads or 0, n, clip)
    rows = []
    for few, many in pairwise(COUNTS):
        for place, what in enumerate(("scoring process", "decoder process")):
            if peaks[few][place]:  # 0: this system does not tell the memory of other processes
                ratio = peaks[many][place] / peaks[few][place]
                target = "<= 1.05" if many == COUNTS[-1] else None
                ours, peer = (f"{peaks[n][place]:.0f} MB" for n in (many, few))
                rows.append(Ratio(f"{what}: peak RSS, {many} clips / {few} clips", ours, peer, ratio, target))
    return Measured("Memory", rows, ["Each count in a fresh process: `rate_many` without explanations, 4 s of 360p."])
