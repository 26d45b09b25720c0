"""``python -m grafana.generate [RUNBOOK-URL]`` writes dashboards and rules below ``grafana/``.

Alerts link to the runbook at this URL; without one to the file in this repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana.generate.files import RUNBOOK, written

here = Path(__file__).parents[1]
for name, text in written(sys.argv[1] if len(sys.argv) > 1 else RUNBOOK).items():
    here.joinpath(name).write_text(text, encoding="utf-8")
