"""What Urza refuses to serve."""

from typing import Literal, TypeAlias

RefusalReason: TypeAlias = Literal[
    "missing_part", "digest_mismatch", "signature_invalid", "manifest_invalid", "guard_mismatch", "weights_invalid"
]


class BundleRefused(Exception):
    """A kernel's bundle is not what it should be; none of it may be used. Its parts are left where they are."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        self.reason: RefusalReason = reason
        self.detail = detail
        super().__init__(f"bundle refused ({reason}): {detail}")
