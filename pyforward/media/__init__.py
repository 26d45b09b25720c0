"""Media that pyforward itself plays: the demo's recording, and files, as RTP packets in time."""
