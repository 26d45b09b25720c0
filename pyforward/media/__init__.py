"""Media that pyforward itself plays: recordings as RTP, and the demo that loops one."""
