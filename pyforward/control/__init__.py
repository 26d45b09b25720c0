"""The only place that orders side effects: joins, events, deadlines, the end."""

from pyforward.control.access import (
    AccessRequest,
    AccessRole,
    Authorise,
    ClaimLimits,
    Claims,
)
from pyforward.control.control import Control, ControlView
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
from pyforward.control.trickle import Patched

__all__ = [
    "Accepted",
    "AccessRequest",
    "AccessRole",
    "Authorise",
    "ClaimLimits",
    "Claims",
    "Control",
    "ControlView",
    "Figures",
    "Order",
    "Page",
    "Patched",
    "PublisherFigures",
    "ServerFigures",
    "StreamFigures",
    "ViewerFigures",
    "reason_of",
]
