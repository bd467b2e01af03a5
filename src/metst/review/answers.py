"""Bytes as an answer of HTTP: all of them, or the part that was asked for."""

from __future__ import annotations

from fastapi import Request, Response

from metst.review.refusals import NoSuchPart


def bytes_answer(data: bytes, request: Request, *, media_type: str, headers: dict[str, str] | None = None) -> Response:
    """All of ``data``, or one part of it (``Range``, RFC 9110).

    Raises
    ------
    NoSuchPart
        The part begins behind the end.
    """
    headers = {"accept-ranges": "bytes", **(headers or {})}
    wanted = request.headers.get("range")
    if wanted is None:
        return Response(data, media_type=media_type, headers=headers)
    low, _, high = wanted.strip().removeprefix("bytes=").partition("-")
    first, last = (int(low), int(high or len(data))) if low else (max(len(data) - int(high), 0), len(data))
    last = min(last, len(data) - 1)
    if first > last:
        raise NoSuchPart(f"expected a range within {len(data)} bytes, got {wanted[:80]!r}")
    headers["content-range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], status_code=206, media_type=media_type, headers=headers)
