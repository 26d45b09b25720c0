"""``python -m grafana.generate [RUNBOOK-URL]`` writes dashboards and rules below ``grafana/``,
and the runbook's queries beside the runbook.

Alerts link to the runbook at this URL; without one to the file in this repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana.generate.files import RUNBOOK, written

(url, *more) = sys.argv[1:] or [RUNBOOK]
if more or url.startswith("-"):
    sys.exit("usage: python -m grafana.generate [RUNBOOK-URL]")
here = Path(__file__).parents[1]
for name, text in written(url).items():
    here.joinpath(name).write_text(text, encoding="utf-8")
