"""A record: what one producer wrote, and what every consumer reads."""

from __future__ import annotations

from typing import Any

import msgspec

from floodmark import json_text
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.limits import RECORD_HEADERS_MAX


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One record as it lies in a batch: a MessagePack array of these five fields, in this order.

    timestamp  event time in milliseconds since the Unix epoch
    key        bytes or None; records with one key share a partition and so an order
    value      opaque bytes, or the text of a JSON document kept to the letter
    is_json    which of the two the value is
    headers    names and values, or None
    """

    timestamp: int
    key: bytes | None
    value: bytes
    is_json: bool = False
    headers: dict[str, str] | None = None

    def json(self, *, exact: bool = False) -> Any:
        """The value as Python objects. Raises ``InvalidRequest`` when it is opaque bytes.

        Numbers with a fraction or an exponent are floats, or ``Decimal`` where no float reaches (``1e400``);
        with ``exact`` always ``Decimal``.
        """
        if not self.is_json:
            raise InvalidRequest("the value of this record is bytes, not JSON")
        return json_text.decode(self.value, exact=exact)

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what ``max_record_bytes`` is measured against."""
        total = len(self.value) + (len(self.key) if self.key else 0)
        if self.headers:
            total += sum(len(name.encode()) + len(text.encode()) for name, text in self.headers.items())
        return total

    def check(self, record_bytes_max: int) -> None:
        """Raise ``InvalidRequest`` or ``TooLarge`` when this record is above a limit."""
        if self.headers is not None and len(self.headers) > RECORD_HEADERS_MAX:
            raise InvalidRequest(
                f"a record has {len(self.headers)} headers; at most {RECORD_HEADERS_MAX} are allowed"
            )
        if self.size > record_bytes_max:
            raise TooLarge(
                f"a record has {self.size} bytes of key, value and headers; "
                f"this topic allows {record_bytes_max}"
            )
