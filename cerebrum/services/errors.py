"""What the services raise on purpose; the HTTP shell turns it into problem+json.

ServiceError (a CerebrumError)
|- Refused             the request was understood and is not carried out: `status`, `title`, detail
|- Unreachable         no answer from the other side; it may have been carried out all the same
|- StoreUnavailable    the database could not store it
`- LeadershipLost      this controller is not the leader any more and has to stop at once
"""

from __future__ import annotations

from cerebrum.model.errors import CerebrumError


class ServiceError(CerebrumError):
    """Base of what the services raise on purpose."""


class Refused(ServiceError):
    """The request is not carried out. `status` is the HTTP status; `retry_after_s` when to retry.

    `leader` is the address to ask instead (status 307).
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        retry_after_s: float | None = None,
        leader: str = "",
    ) -> None:
        self.status, self.title, self.detail = status, title, detail
        self.retry_after_s, self.leader = retry_after_s, leader
        super().__init__(f"{title}: {detail}" if detail else title)


class Unreachable(ServiceError):
    """No answer. Ask again; every request of the protocol may be repeated."""


class StoreUnavailable(ServiceError):
    """The database did not confirm the write (disk full, server restarting). Ask again later."""


class LeadershipLost(ServiceError):
    """Another controller leads, or the lease could not be renewed in time. The process must end."""
