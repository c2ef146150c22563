"""The five pages of the gateway over HTTP: `/`, `/api/v1/status`, `/healthz`, `/readyz` and `/metrics`.

Everything is read-only and nothing is authenticated, so the address to listen on is a loopback one unless the operator
says otherwise; put a reverse proxy in front of it to show it to others.
"""

from gateway.web.pages import Identity
from gateway.web.server import HttpUnavailable, serve

__all__ = ["HttpUnavailable", "Identity", "serve"]
