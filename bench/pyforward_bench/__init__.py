"""The harness: capacity, latency and repair of WHIP and WHEP servers, measured from outside."""
