"""The only place that orders side effects: joins, events, deadlines, the end."""

from pyforward.control.access import (
    AccessRequest,
    AccessRole,
    Authorise,
    ClaimLimits,
    Claims,
)
from pyforward.control.control import Control
from pyforward.control.figures import (
    Figures,
    Page,
    PublisherFigures,
    ServerFigures,
    StreamFigures,
    ViewerFigures,
)
from pyforward.control.joins import reason_of
from pyforward.control.overview import Order
from pyforward.control.publish import Accepted
from pyforward.control.tally import STAGE_BOUNDS_S, Buckets
from pyforward.control.trickle import Patched
from pyforward.control.view import ControlView, Queue, StreamView

__all__ = [
    "STAGE_BOUNDS_S",
    "Accepted",
    "AccessRequest",
    "AccessRole",
    "Authorise",
    "Buckets",
    "ClaimLimits",
    "Claims",
    "Control",
    "ControlView",
    "Figures",
    "Order",
    "Page",
    "Patched",
    "PublisherFigures",
    "Queue",
    "ServerFigures",
    "StreamFigures",
    "StreamView",
    "ViewerFigures",
    "reason_of",
]
