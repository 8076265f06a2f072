"""What Prometheus is told: requests, queue, seconds by room, clips, batches, errors by kind. No text of anybody."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from mllm_avqa.schema.errors import AvqaError
from mllm_avqa.schema.rating import Rating

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Meters:
    """queue: how many requests wait for the model; places: how many are in work in all."""

    def __init__(self, queue: Callable[[], float], places: Callable[[], float]) -> None:
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        Gauge("avqa_queue", "Requests that wait for the model.", registry=r).set_function(queue)
        Gauge("avqa_places_taken", "Requests that are being worked on.", registry=r).set_function(places)
        self.requests = Counter("avqa_requests", "Requests by route and status.", ["route", "status"], registry=r)
        self.latency = Histogram("avqa_request_seconds", "Time to an answer.", ["route"], registry=r, buckets=_SECONDS)
        self.rooms = Histogram("avqa_room_seconds", "Time of a clip by room.", ["room"], registry=r, buckets=_SECONDS)
        self.clips = Counter("avqa_clips", "Clips rated.", registry=r)
        self.media_seconds = Counter("avqa_media_seconds", "Seconds of media rated.", registry=r)
        self.runs = Histogram("avqa_run_clips", "Clips scored in one run.", registry=r, buckets=(1, 2, 4, 8, 16))
        self.errors = Counter("avqa_errors", "Refusals and failures by kind.", ["kind"], registry=r)
        self.answers = Counter("avqa_chat_answers", "Answers in chats.", registry=r)
        self.tokens = Counter("avqa_chat_tokens", "Tokens of chats, asked and answered.", ["side"], registry=r)

    def rated(self, rating: Rating) -> None:
        self.clips.inc()
        self.media_seconds.inc(rating.media.duration)
        for room, seconds in rating.seconds.items():
            self.rooms.labels(room).observe(seconds)

    def failed(self, error: AvqaError) -> None:
        self.errors.labels(error.kind).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
