"""Makes the dashboards, the rules and their files from the catalog of metrics.

``python -m grafana.generate`` writes them below ``grafana/``; a test holds what is committed
against what this would write.
"""
