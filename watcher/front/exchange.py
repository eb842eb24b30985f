"""One request and its response, as far as they have come."""

from __future__ import annotations

from watcher.front.framing import RequestHead
from watcher.front.gate import ConnectionRequest
from watcher.front.response import Response

# A container that is killed leaves docker-proxy behind for a moment, which takes a connection and loses it.
# Measured over `docker restart` under load: with one repetition 7 GETs failed in 4 restarts, with two none
# in 8.
RETRIES = 2


class Exchange:
    """What a client connection keeps about the request in progress.

    `sent` is what of the request has gone, or is to go, to the backend. It is stored while the
    request can be repeated unnoticed: no byte of an answer has arrived, and it is small.
    """

    __slots__ = ("_retries", "began", "head", "pending", "repeatable", "request", "response", "sent")

    def __init__(self, request: RequestHead, head: bytes, sent: bytes, began: float) -> None:
        self.request = request
        self.head = head
        self.sent = sent
        self.began = began  # time.monotonic()
        self.response: Response | None = None  # set when the request goes out
        self.pending: ConnectionRequest | None = None
        self.repeatable = True
        self._retries = 0

    @property
    def waited(self) -> float:
        """Seconds that the request was held."""
        return self.pending.waited if self.pending is not None else 0.0

    @property
    def answering(self) -> bool:
        """Return whether the client has a part of the final response, but not all of it."""
        return self.response is not None and self.response.status > 0 and not self.response.done

    @property
    def answered(self) -> bool:
        """Return whether the client has all of the final response."""
        return self.response is not None and self.response.done

    def remember(self, part: bytes, limit: int) -> None:
        """Keep `part` for a retry; a request of more than `limit` bytes is not kept."""
        if self.repeatable:
            self.sent += part
            self.forget_leftover(limit)

    def forget_leftover(self, limit: int) -> None:
        """Keep the request only if it has no more than `limit` bytes."""
        if len(self.sent) > limit:
            self.forget()

    def forget(self) -> None:
        """The request cannot be repeated any more."""
        self.repeatable = False
        self.sent = b""

    def take_retry(self) -> bool:
        """Return whether the request can be sent again: at most `RETRIES` times (RFC 9110, section 9.2.2).

        A proxy must not repeat what is not idempotent: the app perhaps executed a POST before the connection
        broke.
        """
        if not self.repeatable or self._retries == RETRIES or not self.request.idempotent:
            return False
        self._retries += 1
        return True
