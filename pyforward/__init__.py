"""pyforward: one live WebRTC stream in, thousands of viewers per core out."""

__version__ = "0.1.0"
