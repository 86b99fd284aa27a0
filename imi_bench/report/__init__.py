"""Figures and the self-contained page."""

from imi_bench.rooms import callable_room

callable_room(__name__, "page:report")
